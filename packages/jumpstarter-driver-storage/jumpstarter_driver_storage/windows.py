"""A file in parts, as a client announces them, wherever it is read from."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from io import FileIO
from typing import NamedTuple, Protocol, TypeAlias

from anyio import EndOfStream
from jumpstarter.streams.threads import in_thread

from .blocks import MOST_ZEROS, WINDOW
from .common import BLOCK
from .images import ZERO_DIGEST, is_zero
from .origins import Incoming


class SentWindow(NamedTuple):
    """A part of a file, and the digests of its blocks."""

    content: memoryview
    digests: bytes


class SentZeros(NamedTuple):
    """A part of a file that is zeros, in whole blocks."""

    length: int


Part: TypeAlias = SentWindow | SentZeros


class Windows(Protocol):
    """A file, part by part."""

    async def next(self) -> Part | None:
        """The next one, None at the end."""
        ...


class FileWindows:
    """A local file or pipe; holes of files are not read."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._has_holes = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        self._held: Part | None = None

    async def next(self) -> Part | None:
        return await in_thread(self._next)

    def _next(self) -> Part | None:
        """The next part; zeros as long as they go on."""
        zeros = 0
        while zeros <= MOST_ZEROS - WINDOW:
            part, self._held = self._held or self._read(), None
            if isinstance(part, SentZeros):
                zeros += part.length
            elif zeros:
                self._held = part
                break
            else:
                return part
        return SentZeros(zeros)

    def _read(self) -> Part | None:
        if self._has_holes and (hole := self._hole()):
            return SentZeros(hole)
        parts, left = list[bytes](), WINDOW
        while left and (part := self._file.read(left)):  # pipes give a little at once
            parts.append(part)
            left -= len(part)
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        return _part(memoryview(content)) if content else None

    def _hole(self) -> int:
        """Bytes of the hole at the position of the file, in whole blocks up to a window; the position is behind it."""
        fd = self._file.fileno()
        at = self._file.tell()
        try:
            end = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # no data follow, or the file system does not tell
            end = os.fstat(fd).st_size if self._tells_holes(fd, at) else at
        hole = min(end - at, WINDOW) // BLOCK * BLOCK
        self._file.seek(at + hole)
        return hole

    def _tells_holes(self, fd: int, at: int) -> bool:
        with suppress(OSError):
            return os.lseek(fd, at, os.SEEK_HOLE) == at
        return False


class StreamWindows:
    """What comes as a byte stream from somewhere else."""

    def __init__(self, stream: Incoming) -> None:
        self._stream = stream
        self._rest: bytes = b""

    async def next(self) -> Part | None:
        view, length = memoryview(bytearray(WINDOW)), 0
        with suppress(EndOfStream):
            while length < WINDOW:
                self._rest = self._rest or await self._stream.receive()
                part = self._rest[: WINDOW - length]
                view[length : length + len(part)] = part
                self._rest, length = self._rest[len(part) :], length + len(part)
        return await in_thread(_part, view[:length]) if length else None


def _part(content: memoryview) -> Part:
    if len(content) % BLOCK == 0 and is_zero(content):
        return SentZeros(len(content))
    digests = bytearray()
    for start in range(0, len(content), BLOCK):
        block = content[start : start + BLOCK]
        digests += ZERO_DIGEST if len(block) == BLOCK and is_zero(block) else hashlib.sha256(block).digest()
    return SentWindow(content, bytes(digests))
