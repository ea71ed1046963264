"""A file in parts, as a client announces them, wherever it is read from."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from io import FileIO
from typing import NamedTuple, Protocol, TypeAlias

from anyio import EndOfStream
from jumpstarter.streams.threads import in_thread

from .blocks import MOST_ZEROS, WINDOW
from .common import BLOCK
from .images import ZERO_DIGEST, is_zero
from .origins import Incoming
from .parts import FileParts


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
        self._parts = FileParts(file, WINDOW)
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
        match self._parts.read():
            case int(length):
                return SentZeros(length)
            case content:
                return _window(memoryview(content)) if content else None


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
        return await in_thread(self._part, view[:length]) if length else None

    @staticmethod
    def _part(content: memoryview) -> Part:
        is_empty = len(content) % BLOCK == 0 and is_zero(content)
        return SentZeros(len(content)) if is_empty else _window(content)


def _window(content: memoryview) -> SentWindow:
    digests = bytearray()
    for start in range(0, len(content), BLOCK):
        block = content[start : start + BLOCK]
        digests += ZERO_DIGEST if len(block) == BLOCK and is_zero(block) else hashlib.sha256(block).digest()
    return SentWindow(content, bytes(digests))
