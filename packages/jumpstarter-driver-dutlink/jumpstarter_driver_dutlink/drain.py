"""Reading a tty empty that nobody reads."""

from __future__ import annotations

import fcntl
import os
import select
import termios
import time
import tty
from contextlib import suppress
from pathlib import Path

QUIET = 0.3
"""Seconds without a byte after which a tty counts as empty."""

LONGEST = 3.0
"""Seconds after which a tty that is never quiet is left."""


def drain(path: Path) -> int:
    """Read what a tty holds, and drop it; returns how many bytes. 0 where somebody else has it, who reads it then."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tty.setraw(fd, termios.TCSANOW)  # an echo would be typed into the board's shell
        return _drained(fd)
    except OSError:
        return 0
    finally:
        os.close(fd)


def _drained(fd: int) -> int:
    count, end = 0, time.monotonic() + LONGEST
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    with suppress(OSError):  # unplugged meanwhile
        while time.monotonic() < end and waiting.poll(QUIET * 1000) and (data := os.read(fd, 65536)):
            count += len(data)
    return count
