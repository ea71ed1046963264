"""A local file in parts, without reading its holes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from io import FileIO

from .common import BLOCK
from .images import is_zero


class FileParts:
    """A file or pipe, read from where it stands."""

    def __init__(self, file: FileIO, most: int) -> None:
        """`most` bounds the bytes of a part, and is a multiple of a block."""
        self._file = file
        self._most = most
        self._buffer = bytearray(most)
        self._has_holes = stat.S_ISREG(os.fstat(file.fileno()).st_mode)

    def read(self) -> bytes | int:
        """The next data; or how many bytes of zeros come next, in whole blocks; no data at the end. Blocks."""
        if self._has_holes and (hole := self._hole()):
            return hole
        view, length = memoryview(self._buffer), 0
        while length < self._most and (count := self._file.readinto(view[length:])):  # pipes give a little at once
            length += count
        if length and length % BLOCK == 0 and is_zero(self._buffer, length):
            return length
        return bytes(view[:length])

    def _hole(self) -> int:
        """Bytes of the hole at the position of the file; the position is behind it."""
        fd = self._file.fileno()
        at = self._file.tell()
        try:
            end = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # no data follow, or the file system does not tell
            end = os.fstat(fd).st_size if self._tells_holes(fd, at) else at
        hole = min(end - at, self._most) // BLOCK * BLOCK
        self._file.seek(at + hole)
        return hole

    def _tells_holes(self, fd: int, at: int) -> bool:
        with suppress(OSError):
            return os.lseek(fd, at, os.SEEK_HOLE) == at
        return False
