"""Text from outside, made safe for a terminal, a log or a prompt."""

import re

_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and newline, DEL, C1: ESC and CSI are among them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls: they reorder what is read
    "\u2028\u2029"  # line and paragraph separators: one record is one line
    "\ud800-\udfff"  # lone surrogates: no encoding takes them
    "]"
)


def printable(text: str) -> str:
    """`text` with every character that a terminal would obey shown as an escape (`\\x1b`, `\\u202e`).

    Newline and tab stay as they are.
    """
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    """`text` as a single printable line; line breaks and the blanks around them become one space."""
    return printable(" ".join(line.strip() for line in text.splitlines() if line.strip()))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
