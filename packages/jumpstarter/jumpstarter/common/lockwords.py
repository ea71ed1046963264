"""What stands in the file of a lock: who holds it, and below, a line from each exporter that found it held.

So both sides know: the one that is refused names the holder, and the holder's log names who tried.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .text import one_line

logger = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between looks at the files that are held."""

_REFUSED = "refused"
_MOST = 1 << 16
"""Bytes of a file that takes no further line: its holder has been told hundreds of times."""


@dataclass(frozen=True)
class Holder:
    """Who has a lock, or wanted it."""

    pid: int | None
    config: str = ""
    driver: str = ""

    def __str__(self) -> str:
        known = [f"process {self.pid or 'unknown'}", f"config {self.config or 'unknown'}"]
        return ", ".join([*known, f"driver {self.driver}"] if self.driver else known)


def introduce(fd: int, config: str, driver: str = "") -> None:
    """Write into a file whose lock this process has that it has it."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n{config}\n{driver}\n".encode(errors="surrogateescape"), 0)


def introduced(path: Path) -> Holder:
    """The holder that wrote into a file last, as far as it can be read."""
    lines = ["", "", ""]
    with suppress(OSError):
        lines = [one_line(line) for line in path.read_text(errors="replace")[:4096].split("\n")] + lines
    return Holder(int(lines[0]) if lines[0].isdigit() else None, lines[1], lines[2])


def leave_word(path: Path, config: str, driver: str = "") -> None:
    """Tell the holder of a lock that this process found it held; where the file cannot be written, it is not told."""
    line = "\t".join((_REFUSED, str(os.getpid()), config, driver)) + "\n"
    with suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < _MOST:
                os.write(fd, line.encode(errors="surrogateescape"))
        finally:
            os.close(fd)


class Doorkeeper:
    """Warns of everybody who was refused one of the locks that this process holds."""

    def __init__(self) -> None:
        self._doors: dict[int, tuple[str, int]] = {}  # what is locked, and how much of its file was read
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, fd: int, what: str) -> None:
        """Look at the file of a lock from now on, until `close`; `what` is locked, in the words of the warning."""
        self._doors[fd] = what, os.fstat(fd).st_size
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._run, name="locks", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Look for the last time; the files may be closed then."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(INTERVAL)
        self._thread = None
        self._doors.clear()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ended.wait(INTERVAL)
            for fd, (what, position) in list(self._doors.items()):
                with suppress(OSError):
                    self._doors[fd] = what, position + self._look(fd, what, position)

    def _look(self, fd: int, what: str, position: int) -> int:
        """Warn of those who came since a position; returns the bytes of their lines."""
        if os.fstat(fd).st_size <= position:
            return 0
        whole, end, _ = os.pread(fd, _MOST, position).rpartition(b"\n")
        for line in whole.decode(errors="surrogateescape").split("\n"):
            word, _, rest = line.partition("\t")
            pid, _, rest = rest.partition("\t")
            config, _, driver = rest.partition("\t")
            if word == _REFUSED and pid.isdigit():
                tried = Holder(int(pid), one_line(config), one_line(driver))
                logger.warning("another exporter (%s) was refused %s, which this one has", tried, what)
        return len(whole) + len(end)
