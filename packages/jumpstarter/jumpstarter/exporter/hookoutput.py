"""What a hook writes to its terminal, as lines of the log: printable, bounded, no faster than the log takes them."""

from __future__ import annotations

import codecs
import logging
import os
import pty
import re
import select
import termios
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from ..common.limits import HOOK_LINE, HOOK_LINES_PER_SECOND, HOOK_OUTPUT
from ..common.text import printable

_DROP_PAUSE = 0.001
"""Seconds between two reads of what is dropped: a flood shall not take the processor from others."""

_BREAK = re.compile(r"\r?\n|\r(?!\n)")


@contextmanager
def open_terminal() -> Generator[tuple[int, int]]:
    """A pseudo-terminal that changes nothing in what is written to it: our end, and the other.

    Ours is closed at the end of the context, the other is to be closed by who receives it.
    """
    ours, theirs = pty.openpty()
    try:
        modes = termios.tcgetattr(theirs)
        modes[1] &= ~termios.OPOST
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        os.set_blocking(ours, False)
        yield ours, theirs
    finally:
        os.close(ours)


class HookOutput:
    """Writes what comes from a terminal to a logger. For a thread: it waits where there is too much at a time."""

    def __init__(self, log: logging.Logger, *, secrets: Sequence[str] = ()) -> None:
        self.last_line = ""
        """The last line that was not empty."""
        self._log = log
        self._secrets = [secret for secret in secrets if secret]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""
        self._left = HOOK_OUTPUT
        self._dropped = 0

    def read(self, terminal: int) -> bool:
        """Take what is there; False at the end."""
        try:
            data = os.read(terminal, 65536)
        except BlockingIOError:
            return True
        except OSError:  # EIO: nobody has the other end any more
            return False
        if data:
            self._take(data)
        return bool(data)

    def drain(self, terminal: int, timeout: float) -> None:
        """Take what is there, until nobody has the other end or nothing comes any more."""
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(terminal, select.POLLIN)
        while time.monotonic() < deadline and poll.poll(0) and self.read(terminal):
            pass
        self.flush()

    def flush(self) -> None:
        """Log the line that has no end, and how much was dropped."""
        self._write([self._rest + self._decoder.decode(b"", final=True)])
        self._rest = ""
        if self._dropped:
            self._log.warning("%d bytes beyond the first %d MiB were dropped", self._dropped, HOOK_OUTPUT >> 20)
            self._dropped = 0

    def _take(self, data: bytes) -> None:
        kept, self._left = data[: self._left], max(0, self._left - len(data))
        if not kept:
            self._dropped += len(data)
            time.sleep(_DROP_PAUSE)
            return
        self._dropped += len(data) - len(kept)
        *lines, self._rest = _BREAK.split(self._rest + self._decoder.decode(kept))
        if len(self._rest) > HOOK_LINE:
            lines.append(self._rest)
            self._rest = ""
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        started, count = time.monotonic(), 0
        for line in map(self._clean, lines):
            for start in range(0, len(line), HOOK_LINE):
                self.last_line = line[start : start + HOOK_LINE]
                self._log.info("%s", self.last_line)
                count += 1
        time.sleep(max(0.0, count / HOOK_LINES_PER_SECOND - (time.monotonic() - started)))

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return printable(text).rstrip()
