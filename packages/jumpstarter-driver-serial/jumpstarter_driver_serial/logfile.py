"""The log of a console: its bytes as they came, in files that take turns."""

import fcntl
import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jumpstarter.common.exceptions import BusyError
from jumpstarter.common.state import make_private

from .history import Behind, History
from .items import Data, Dropped

CHUNK = 1 << 20
BATCH = 0.05
"""Seconds in which bytes gather before they are written."""

RETRY = 5.0
"""Seconds until a log that could not be written is tried again."""


@dataclass
class _Part:
    fd: int
    begin: int
    """Offset of its first byte."""
    size: int = 0

    @property
    def end(self) -> int:
        return self.begin + self.size


class LogFile:
    """Bytes by their offsets, in `path` and in older parts `path.1`, `path.2`, …; what an earlier run left gets old."""

    def __init__(self, path: Path, size: int, count: int) -> None:
        """`size` is that of one file, in bytes; `count` files are kept.

        Raises OSError, and BusyError when somebody else writes it.
        """
        self.path = path
        self._size, self._count = size, max(count, 1)
        self._lock = threading.Lock()
        self._parts: list[_Part] = []
        make_private(path.parent)
        self._guard = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._guard)
            raise BusyError(
                f"the log {path} is written by somebody else", "give this console another log_file"
            ) from None

    def write(self, offset: int, data: bytes) -> None:
        """Add bytes; those of a new offset begin a new file. Raises OSError, with nothing of them added."""
        with self._lock:
            last = self._parts[-1] if self._parts else None
            if last is None or last.end != offset or last.size >= self._size:
                last = self._turn(offset)
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[os.write(last.fd, rest) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(last.fd, last.size)
                raise
            last.size += len(data)

    def _turn(self, offset: int) -> _Part:
        """Begin a new file, and let the others get older."""
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self._count))]
        for newer, older in zip(reversed(names[:-1]), reversed(names[1:]), strict=True):
            with suppress(FileNotFoundError):
                newer.replace(older)
        if len(names) == 1:
            self.path.unlink(missing_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._parts.append(_Part(fd, offset))
        while len(self._parts) > self._count:
            os.close(self._parts.pop(0).fd)
        return self._parts[-1]

    def read(self, offset: int, most: int) -> bytes:
        """Bytes from an offset on, fewer at the end of a file; nothing where they are not there."""
        with self._lock:
            for part in self._parts:
                if part.begin <= offset < part.end:
                    return os.pread(part.fd, min(most, part.end - offset), offset - part.begin)
        return b""

    def next(self, offset: int) -> int | None:
        """The first offset from there on that can be read; None where there is none."""
        with self._lock:
            return next((max(offset, part.begin) for part in self._parts if part.end > offset), None)

    def close(self) -> None:
        with self._lock:
            for part in self._parts:
                os.close(part.fd)
            self._parts.clear()
            os.close(self._guard)


class LogWriter:
    """A thread that writes a history to a log, as one more of its readers."""

    def __init__(self, history: History, file: LogFile, logger: logging.Logger) -> None:
        self._history, self._file, self._logger = history, file, logger
        self._reader = history.reader(history.end)
        self.written = self._reader.offset
        self._stop = False
        self._hurry = threading.Event()
        self._failed, self._again = False, 0.0
        history.archive = self
        self._thread = threading.Thread(target=self._run, name=f"log {file.path.name}", daemon=True)
        self._thread.start()

    def read(self, offset: int, most: int) -> bytes:
        try:
            return self._file.read(offset, most)
        except OSError as e:
            self._logger.warning("console log %s: %s", self._file.path, e.strerror)
            return b""

    def next(self, offset: int) -> int | None:
        return self._file.next(offset)

    def hurry(self) -> None:
        self._hurry.set()

    def close(self) -> None:
        """Write what is there, and end."""
        self._stop = True
        self._hurry.set()
        self._history.changes.notify()
        self._thread.join()
        self._history.archive = None
        self._file.close()

    def _run(self) -> None:
        changes = self._history.changes
        while True:
            match self._reader.take(CHUNK, files=False):
                case Data(offset=offset, data=data):
                    self._write(offset, data)
                    self.written = self._reader.offset
                    changes.notify()
                case Behind():  # it could not keep up, so what memory has lost is not in the file either
                    self._skip()
                case Dropped(count=count):
                    self._logger.warning("console log %s: %d bytes are missing", self._file.path, count)
                case None:
                    if self._stop:
                        return
                    changes.wait_for(lambda: self._stop or self._reader.has_news(), None)
                    self._hurry.wait(BATCH)
                    self._hurry.clear()
                case _:
                    pass

    def _skip(self) -> None:
        missing = self._history.memory_begin - self._reader.offset
        self._logger.warning("console log %s: %d bytes are missing, the disk is too slow", self._file.path, missing)
        self._reader.offset += missing

    def _write(self, offset: int, data: bytes) -> None:
        if self._failed and time.monotonic() < self._again:
            return
        try:
            self._file.write(offset, data)
        except OSError as e:
            if not self._failed:
                self._logger.warning("console log %s: %s; what comes meanwhile is missing", self._file.path, e.strerror)
            self._failed, self._again = True, time.monotonic() + RETRY
            return
        if self._failed:
            self._failed = False
            self._logger.info("console log %s is written again", self._file.path)
