"""The user's terminal: raw meanwhile, with a title, and keys that command instead of being sent."""

import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

HELP = (
    "q leaves, b sends a break, d and r toggle DTR and RTS, t takes over writing, g gives it up, "
    "s sends the size of this terminal, ? shows this, the escape key again sends it"
)

OTHER_WAY_OUT = b"\x02\x02\x02"
"""Ctrl-B three times in a row leaves, too."""


@contextmanager
def raw_terminal(fd: int) -> Generator[None]:
    """Pass every key on as it is, meanwhile."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # what was typed already is kept
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def window_title(text: str) -> Generator[None]:
    """Show a title meanwhile, where standard output is a terminal; the one before comes back (xterm, ctlseqs)."""
    if not sys.stdout.isatty():
        yield
        return
    safe = "".join(char for char in text if char.isprintable())
    write_stdout(f"\x1b[22;0t\x1b]0;{safe}\x07".encode())
    try:
        yield
    finally:
        with suppress(OSError):
            write_stdout(b"\x1b[23;0t")


@contextmanager
def on_resize(call: Callable[[], object]) -> Generator[None]:
    """Call a function whenever the terminal changes its size."""

    def resized(signum: int, frame: FrameType | None) -> None:
        call()

    before: Any = signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def size_command() -> bytes:
    """What tells a shell on the device the size of this terminal."""
    columns, lines = os.get_terminal_size(sys.stdin.fileno())  # not what COLUMNS and LINES say, which may be old
    return f"stty rows {lines} cols {columns}\r".encode()


def write_stdout(data: bytes) -> None:
    """Write to standard output at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def parse_key(text: str) -> bytes:
    """The byte of a key that is written as ^] or ctrl-]; ValueError for what is none."""
    key = text.lower().removeprefix("ctrl-") if text.lower().startswith("ctrl-") else text.removeprefix("^")
    if key == text or len(key) != 1 or not "@" <= key.upper() <= "_":
        raise ValueError(f"{text!r} is no control key; write ^] or ctrl-]")
    return bytes((ord(key.upper()) & 0x1F,))


def key_name(key: bytes) -> str:
    """How people call it."""
    return f"Ctrl-{chr(key[0] | 0x40)}"


class Keys:
    """Tells keys to send from those that command: one after the escape key, or Ctrl-B three times."""

    def __init__(self, escape: bytes) -> None:
        self._escape = escape
        self._escaped = False
        self._recent = b""

    def feed(self, typed: bytes) -> list[tuple[str, bytes]]:
        """What to do, in order: `("send", keys)`, or `("do", key)` with the key after the escape key."""
        if OTHER_WAY_OUT in (joined := self._recent + typed):
            return [("send", typed[: joined.index(OTHER_WAY_OUT) - len(self._recent)]), ("do", b"q")]
        self._recent = joined[1 - len(OTHER_WAY_OUT) :]
        actions: list[tuple[str, bytes]] = []
        for key in (bytes((code,)) for code in typed):
            if self._escaped:
                self._escaped = False
                actions.append(("send", key) if key == self._escape else ("do", key))
            elif key == self._escape:
                self._escaped = True
            elif actions and actions[-1][0] == "send":
                actions[-1] = ("send", actions[-1][1] + key)
            else:
                actions.append(("send", key))
        return actions
