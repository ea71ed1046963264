"""The file of one session's record: private, of bounded size, and patient with a disk that is full."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..common.limits import RECORDS, RECORDS_BYTES
from ..common.records import SUFFIX, Record
from ..common.state import make_private

RETRY = 5.0
"""Seconds until a file that could not be written is tried again."""

Header = Callable[[int], list[bytes]]
"""Makes the first lines of a part; it gets the number of entries that are lost."""


class RecordFile:
    """Takes lines in order. Used by one thread; it never raises for what the disk does.

    The file consists of at most two parts of half the size each. When the newer one is full it becomes the older one,
    and what was the older one is gone; the lines that went with it are counted.
    """

    def __init__(
        self, directory: Path, session: str, header: Header, max_bytes: int, failed: Callable[[OSError], None]
    ) -> None:
        self._record = Record(directory / f"{session}{SUFFIX}")
        self._header = header
        self._part_bytes = max_bytes // 2
        self._failed = failed
        self._fd: int | None = None
        self._size = 0
        self._lines, self._earlier_lines = 0, 0
        self._next_try = 0.0
        self.lost = 0
        """Entries that are not in the file any more, or never were."""

    @property
    def path(self) -> Path:
        return self._record.path

    def write(self, lines: list[bytes]) -> None:
        """Append lines."""
        if time.monotonic() < self._next_try:
            self.lost += len(lines)
            return
        chunks = self._chunks(lines)
        try:
            while chunks:
                self._append(chunks[0])
                del chunks[0]
        except OSError as e:
            self.lost += sum(map(len, chunks))
            self._next_try = time.monotonic() + RETRY
            self._failed(e)

    def _chunks(self, lines: list[bytes]) -> list[list[bytes]]:
        """The lines in portions of which each is far smaller than a part."""
        chunks: list[list[bytes]] = [[]]
        size = 0
        for line in lines:
            size += len(line)
            if size > self._part_bytes // 4 and chunks[-1]:
                chunks.append([])
                size = len(line)
            chunks[-1].append(line)
        return chunks

    def _append(self, lines: list[bytes]) -> None:
        if self._fd is None:
            self._open()
        data = b"".join(lines)
        if self._size + len(data) > self._part_bytes:
            self._turn()
        if self._next_try:
            self._put(b"".join(self._header(self.lost)))
            self._next_try = 0.0
        self._put(data)
        self._lines += len(lines)

    def _open(self) -> None:
        make_private(self.path.parent)
        prune(self.path.parent)
        self._fd = self._create()
        self._put(b"".join(self._header(self.lost)))

    def _create(self) -> int:
        """A new file, which is locked when it gets the name under which others look for it."""
        new = self.path.with_name(f"{self._record.id}.new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            new.rename(self.path)
        except BaseException:
            os.close(fd)
            new.unlink(missing_ok=True)
            raise
        self._size = 0
        return fd

    def _turn(self) -> None:
        """Make the newer part the older one, and begin a new one."""
        before = self._fd
        assert before is not None
        try:
            with suppress(FileNotFoundError):  # somebody tidied up: go on in a new file
                self.path.rename(self._record.earlier)
        except OSError:
            self._empty(before)
        else:
            self._fd = None
            try:
                self._fd = self._create()
            finally:
                os.close(before)
            self.lost += self._earlier_lines
            self._lines, self._earlier_lines = 0, self._lines
        self._put(b"".join(self._header(self.lost)))

    def _empty(self, fd: int) -> None:
        """Begin the newer part anew where the directory takes no change: what was in it is lost, not what comes."""
        os.ftruncate(fd, 0)
        self._size = 0
        self.lost += self._lines
        self._lines = 0

    def _put(self, data: bytes) -> None:
        """Write all of it, or nothing."""
        assert self._fd is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)  # no half line
            raise
        self._size += len(data)

    def close(self) -> None:
        """End the record."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def prune(directory: Path, keep: int = RECORDS - 1, keep_bytes: int = RECORDS_BYTES) -> None:
    """Remove the oldest records that are too many or too much together, but none that is being written."""
    records = sorted((Record(path) for path in directory.glob(f"*{SUFFIX}")), key=lambda record: record.id)
    sizes = [record.size for record in records]
    count, total = len(records), sum(sizes)
    for record, size in zip(records, sizes, strict=True):
        if count <= keep and total <= keep_bytes:
            break
        if record.is_live:
            continue
        record.earlier.unlink(missing_ok=True)
        record.path.unlink(missing_ok=True)
        count -= 1
        total -= size
