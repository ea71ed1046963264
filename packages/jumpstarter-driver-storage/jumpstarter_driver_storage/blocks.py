"""The protocol by which a client sends only those blocks of a file that the exporter does not have yet.

It runs inside the byte stream of a resource, both ways. The client announces the file window by window, with the
digests of its blocks; the exporter answers each window with the blocks that it wants; the client sends those, in the
order of the windows. Announcements run ahead of data. A message is a byte for its kind, its length in four bytes (most
significant first), and its content:

    client    H  length of the window (4 bytes), SHA-256 of each of its blocks
              D  the wanted blocks of the oldest window of which some are wanted
              E  nothing: the file is complete
    exporter  W  one bit for each block of the oldest window without an answer, 1 for wanted, the first one highest
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

from anyio import EndOfStream
from anyio.abc import AnyByteStream
from jumpstarter.streams.threads import in_thread

from .cache import BlockCache
from .common import BLOCK
from .images import ZERO_DIGEST, Data, ImageError

WINDOW = 1 << 20
"""Bytes of a window: what is in memory at once, times WINDOWS."""

WINDOWS = 4
"""Windows that are announced ahead of their data: the client sends no data of a window before the exporter has kept all
that lies as many windows before it, so that a connection that breaks costs at most these."""

HEADER = struct.Struct(">cI")
LENGTH = struct.Struct(">I")
DIGEST = 32

_ZEROS = memoryview(bytes(WINDOW))


def message(kind: bytes, *content: bytes | memoryview) -> list[bytes | memoryview]:
    """A message, in parts."""
    return [HEADER.pack(kind, sum(len(part) for part in content)), *content]


def bits(wanted: list[bool]) -> bytes:
    """An answer's content."""
    padded = wanted + [False] * (-len(wanted) % 8)
    number = int("".join("01"[bit] for bit in padded) or "0", 2)
    return number.to_bytes(len(padded) // 8, "big")


def unbits(content: bytes, count: int) -> list[bool]:
    """The blocks that an answer wants, of so many."""
    return [bool(content[number // 8] >> (7 - number % 8) & 1) for number in range(count)]


@dataclass
class Window:
    """A part of the file that comes together."""

    offset: int
    length: int
    digests: list[bytes]
    content: bytearray
    missing: list[int] = field(default_factory=list[int])
    """Numbers of the blocks that have to come."""

    def place(self, number: int) -> slice:
        """Where a block is in the content."""
        return slice(number * BLOCK, min(self.length, (number + 1) * BLOCK))

    def items(self) -> Iterator[Data]:
        """Runs of blocks that are zeros, and runs of those that are not."""
        start = 0
        while start < len(self.digests):
            end, is_zero = start, self.digests[start] == ZERO_DIGEST
            while end < len(self.digests) and (self.digests[end] == ZERO_DIGEST) == is_zero:
                end += 1
            place = slice(start * BLOCK, min(self.length, end * BLOCK))
            view = (_ZEROS if is_zero else memoryview(self.content))[place]
            yield Data(self.offset + place.start, view, b"".join(self.digests[start:end]))
            start = end


class BlockSource:
    """A file that comes by this protocol, as the exporter sees it."""

    def __init__(self, stream: AnyByteStream, cache: BlockCache) -> None:
        self._stream = stream
        self._cache = cache
        self._buffer: bytes | memoryview = b""
        self._windows: deque[Window] = deque()
        self._at = 0
        self.received = 0

    async def items(self) -> AsyncGenerator[list[Data]]:
        """The file in order. Raises ImageError for what is not the protocol, and what breaks the stream."""
        while True:
            kind, length = HEADER.unpack(await self._exactly(HEADER.size))
            match kind:
                case b"H" if LENGTH.size < length <= LENGTH.size + WINDOW // BLOCK * DIGEST:
                    await self._announced(await self._exactly(length))
                case b"D":
                    await self._arrives(length)
                case b"E" if not self._windows:
                    await self._end()
                    return
                case _:
                    raise ImageError("the client does not keep to the protocol of blocks", "install the same versions")
            while self._windows and not self._windows[0].missing:
                yield list(self._windows.popleft().items())

    async def _announced(self, content: bytes) -> None:
        [length] = LENGTH.unpack_from(content)
        digests = [content[at : at + DIGEST] for at in range(LENGTH.size, len(content), DIGEST)]
        if not 0 < length <= WINDOW or len(digests) != -(-length // BLOCK) or len(digests[-1]) != DIGEST:
            raise ImageError("the client does not keep to the protocol of blocks", "install the same versions")
        window = await in_thread(self._look_up, Window(self._at, length, digests, bytearray()))
        self._at += length
        self._windows.append(window)
        missing = set(window.missing)
        answer = message(b"W", bits([number in missing for number in range(len(digests))]))
        await self._stream.send(b"".join(answer))

    def _look_up(self, window: Window) -> Window:
        """Fill in what is here already."""
        for number, digest in enumerate(window.digests):
            if digest == ZERO_DIGEST:
                continue
            place = window.place(number)
            known = self._cache.find(digest, place.stop - place.start)
            if known is None:
                window.missing.append(number)
            else:
                window.content = window.content or bytearray(window.length)
                window.content[place] = known
        if window.missing and not window.content:
            window.content = bytearray(window.length)
        return window

    async def _arrives(self, length: int) -> None:
        """Fill in what was wanted."""
        window = next((window for window in self._windows if window.missing), None)
        wanted = sum(window.place(n).stop - window.place(n).start for n in window.missing) if window else 0
        if window is None or wanted != length:
            raise ImageError("the client does not keep to the protocol of blocks", "install the same versions")
        arrived = 0
        try:
            for start, end in _runs(window, window.missing):
                while start < end:
                    piece = await self._some(end - start)
                    window.content[start : start + len(piece)] = piece
                    start, arrived = start + len(piece), arrived + len(piece)
        finally:  # also what came before the connection broke
            await in_thread(self._keep, window, window.missing[: arrived // BLOCK])
        await in_thread(self._keep, window, window.missing[arrived // BLOCK :])
        window.missing = []

    def _keep(self, window: Window, numbers: list[int]) -> None:
        content = memoryview(window.content)
        self._cache.add([(window.digests[number], content[window.place(number)]) for number in numbers])

    async def _some(self, most: int) -> bytes | memoryview:
        """The next bytes, at least one."""
        if not self._buffer:
            try:
                self._buffer = memoryview(await self._stream.receive())
            except EndOfStream:
                raise ImageError("the client stopped in the middle of the file", "send it again") from None
            self.received += len(self._buffer)
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    async def _exactly(self, length: int) -> bytes:
        parts: list[bytes | memoryview] = []
        while length:
            parts.append(await self._some(length))
            length -= len(parts[-1])
        return b"".join(parts)

    async def _end(self) -> None:
        """Wait for the clean end of the stream, with which its sum comes."""
        try:
            await self._stream.receive()
        except EndOfStream:
            return
        raise ImageError("the client sends more than the file", "install the same versions")


def _runs(window: Window, numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Blocks that lie side by side, as parts of the content."""
    first = 0
    for index, number in enumerate(numbers):
        if index + 1 == len(numbers) or numbers[index + 1] != number + 1:
            yield window.place(numbers[first]).start, window.place(number).stop
            first = index + 1
