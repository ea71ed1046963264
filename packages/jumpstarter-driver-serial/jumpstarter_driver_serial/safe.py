"""What a device sends, made safe for the terminal of whoever looks at it.

What draws passes: text, colours, cursor movement, erasing, scrolling, line drawing, the alternate screen. What acts on
the terminal beyond that does not: titles, the clipboard, colours of the palette, printing, window operations, reports
that the terminal would answer as if somebody typed (ENQ, DA, DSR, mouse and focus reports), tabs and keys set anew.
Functions as in ECMA-48 and the control sequences of xterm (ctlseqs).
"""

import codecs
import re
from collections.abc import Callable

MAX_SEQUENCE = 64
"""Most characters of a control sequence; longer ones are dropped."""

MAX_STRING = 4096
"""Most characters of a control string (title, clipboard, …) that are dropped before its end is no longer waited for."""

_PLAIN_CONTROLS = "\a\b\t\n\v\f\r\x0e\x0f"
"""Bell to carriage return, and shifting between character sets."""

_FINALS = "@ABCDEFGHIJKLMPSTXZ`abdefghlmrsu"
"""Of control sequences without a mark: movement, erasing, inserting, deleting, scrolling, attributes, modes."""

_MODES = {4: "l", 20: "l"}
"""Modes that may be set, and how they are left: insert, new line."""

_PRIVATE_MODES = {1: "l", 5: "l", 6: "l", 7: "h", 12: "l", 25: "h", 47: "l", 1047: "l", 1048: "", 1049: "l", 2004: "l"}
"""The same of those with `?`: cursor keys, reverse, origin, wrap, cursor, alternate screen, bracketed paste."""

_SHORT = {"7", "8", "D", "E", "H", "M", "=", ">"}
"""After an escape alone: save and restore the cursor, index, new line, tab stop, reverse index, keypad."""

_CHARSETS = "AB0"
_CLEAR = "\x1b[!p\x1b[H\x1b[2J"
"""Instead of a full reset, which takes the scrolled-off lines and the title with it."""

_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNUSUAL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SEQUENCE = re.compile(r"([<-?]?)([0-9:;]*)([ -/]*)([@-~])")


class SafeTerminal:
    """Filters a stream of bytes, in pieces of any size, for a terminal that takes UTF-8."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._state: Callable[[str], str] = self._text
        self._pending = ""
        self._swallowed = 0
        self._undo: dict[str, str] = {}

    def feed(self, data: bytes) -> bytes:
        """What may be shown of the next bytes."""
        return self._filter(self._decode(data)).encode()

    def close(self) -> bytes:
        """What brings the terminal back to how it was: modes that are still set, colours, the alternate screen."""
        rest = self._filter(self._decode(b"", final=True))
        self._state, self._pending = self._text, ""
        undo, self._undo = "".join(self._undo.values()), {}
        return (rest + undo).encode()

    def _filter(self, text: str) -> str:
        out: list[str] = []
        at = 0
        while at < len(text):
            if self._state == self._text:
                found = _UNUSUAL.search(text, at)
                end = len(text) if found is None else found.start()
                out.append(text[at:end])
                at = end
                if found is None:
                    break
            out.append(self._state(text[at]))
            at += 1
        return "".join(out)

    # states: each takes one character and returns what is shown

    def _text(self, char: str) -> str:
        if char == "\x1b":
            self._state = self._escape
            return ""
        return self._control(char)

    def _control(self, char: str) -> str:
        if char in "\x0e\x0f":
            self._undo["charset"] = "\x0f\x1b(B"
        if char in _PLAIN_CONTROLS or (char >= " " and not "\x7f" <= char <= "\x9f" and not _BIDI.match(char)):
            return char
        return f"\\u{ord(char):04x}" if _BIDI.match(char) else ""

    def _escape(self, char: str) -> str:
        self._pending, self._swallowed = "", 0
        self._state = self._text
        match char:
            case "[":
                self._state = self._csi
            case "]" | "P" | "X" | "^" | "_":
                self._state = self._string
            case "(" | ")" | "*" | "+":
                self._pending, self._state = char, self._charset
            case "#" | "%" | " " | "&" | "-" | "." | "/" | "!" | '"' | "$" | "'" | ",":
                self._state = self._drop_one
            case "\x1b":
                self._state = self._escape
            case "c":
                return _CLEAR
            case _ if char in _SHORT:
                if char == "=":
                    self._undo["keypad"] = "\x1b>"
                return f"\x1b{char}"
            case _ if char < " ":
                self._state = self._escape if char not in "\x18\x1a" else self._text
                return self._control(char)
            case _:
                pass
        return ""

    def _drop_one(self, char: str) -> str:
        self._state = self._escape if char == "\x1b" else self._text
        return ""

    def _charset(self, char: str) -> str:
        self._state = self._escape if char == "\x1b" else self._text
        if char not in _CHARSETS:
            return ""
        self._undo["charset"] = "\x0f\x1b(B"
        return f"\x1b{self._pending}{char}"

    def _csi(self, char: str) -> str:
        if char == "\x1b":
            self._state = self._escape
            return ""
        if char in "\x18\x1a":  # CAN and SUB end a sequence
            self._state = self._text
            return ""
        if char < " ":
            return self._control(char)
        if "@" <= char <= "~":
            self._state = self._text
            return self._allowed(self._pending + char)
        if char > "~":
            self._state = self._text
            return ""
        if len(self._pending) < MAX_SEQUENCE:
            self._pending += char
        else:
            self._pending = "!" * MAX_SEQUENCE  # which no sequence is
        return ""

    def _string(self, char: str) -> str:
        self._swallowed += 1
        if char == "\x1b":
            self._state = self._string_escape
        elif char in "\a\x18\x1a\x9c":
            self._state = self._text
        elif char in "\r\n" or self._swallowed > MAX_STRING:  # it was none, or its end got lost
            self._state = self._text
            return self._control(char)
        return ""

    def _string_escape(self, char: str) -> str:
        if char == "\\":
            self._state = self._text
            return ""
        return self._escape(char)

    # control sequences

    def _allowed(self, sequence: str) -> str:
        """A control sequence if it only draws, otherwise nothing."""
        parsed = _SEQUENCE.fullmatch(sequence)
        if parsed is None:
            return ""
        mark, parameters, between, final = parsed.groups()
        if any(len(number) > 5 for number in re.split("[:;]", parameters)):
            return ""
        if final in "hl" and not between and mark in ("", "?"):
            return self._modes(mark, parameters, final)
        if mark == "?":
            return f"\x1b[{sequence}" if final in "JK" and not between else ""
        if mark:
            return ""
        match between, final:
            case " ", "q":
                self._undo["cursor"] = "\x1b[0 q"
            case "!", "p":
                pass
            case "", "m":
                self._undo["attributes"] = "\x1b[0m"
            case "", "r":
                self._undo["region"] = "\x1b7\x1b[r\x1b8"
            case "", _ if final in _FINALS:
                pass
            case _:
                return ""
        return f"\x1b[{sequence}"

    def _modes(self, mark: str, parameters: str, final: str) -> str:
        known = _PRIVATE_MODES if mark else _MODES
        wanted = [int(number) for number in parameters.split(";") if number.isdecimal() and int(number) in known]
        for mode in wanted:
            undo = known[mode]
            if undo and undo != final:
                self._undo[f"{mark}{mode}"] = f"\x1b[{mark}{mode}{undo}"
            else:
                self._undo.pop(f"{mark}{mode}", None)
        return f"\x1b[{mark}{';'.join(map(str, wanted))}{final}" if wanted else ""
