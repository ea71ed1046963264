"""The protocol by which a client sends only those blocks of a file that the exporter does not have yet.

It runs inside the byte stream of a resource, both ways. The client announces the file window by window, with the
digests of its blocks; the exporter answers each window with the blocks that it wants; the client sends those, in the
order of the windows. Announcements run ahead of data. A message is a byte for its kind, its length in four bytes (most
significant first), and its content:

    client    L  a name: before all others, the file can be borrowed by it (see `lending.py`), which is answered first
              H  length of the window (4 bytes), SHA-256 of each of its blocks
              Z  length of a part of the file that is zeros (8 bytes): it comes after the windows before it
              D  the wanted blocks of the oldest window of which some are wanted
              E  nothing: the file is complete, or borrowed
    exporter  L  a byte, 1 for a file that it has borrowed
              W  one bit for each block of the oldest window without an answer, 1 for wanted, the first one highest
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field

from anyio import EndOfStream
from anyio.abc import AnyByteStream
from jumpstarter.streams.frames import MAX_FRAME
from jumpstarter.streams.threads import in_thread

from .cache import BlockCache
from .common import BLOCK
from .images import ZERO_DIGEST, Data, ImageError
from .lending import NAME, borrow
from .parts import FileParts

WINDOW = MAX_FRAME - BLOCK
"""Bytes of a window: what fits into a frame together with the announcement of another one."""

WINDOWS = 3
"""Windows that are announced ahead of their data."""

SENT_AHEAD = (WINDOWS + 1) * WINDOW
"""Bytes of data that the client sends at most before the exporter has kept them, which a broken connection can cost: it
sends those of a window once that was answered, and announces one together with the data of WINDOWS before it."""

HEADER = struct.Struct(">cI")
LENGTH = struct.Struct(">I")
ZEROS = struct.Struct(">Q")
DIGEST = 32

MOST_ZEROS = 16 << 20
"""Bytes of zeros that are told at once."""

BORROWED_PART = 1 << 20
"""Bytes of a file that need not come that are read by one system call."""

BATCH = 4 << 20
"""Bytes of such a file that go on to the medium together."""

ZEROS_LIGHTER = 16
"""How many times more bytes go together where they are zeros."""

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
    content: bytearray | memoryview
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
            view = _ZEROS[: place.stop - place.start] if is_zero else memoryview(self.content)[place]
            yield Data(self.offset + place.start, view, b"".join(self.digests[start:end]))
            start = end


@dataclass
class ZeroRun:
    """A part of the file that is zeros."""

    offset: int
    length: int
    missing: tuple[int, ...] = ()

    def items(self) -> Iterator[Data]:
        """It, in pieces."""
        for start in range(0, self.length, WINDOW):
            view = _ZEROS[: self.length - start]
            yield Data(self.offset + start, view, ZERO_DIGEST * (len(view) // BLOCK))


class BlockSource:
    """A file that comes by this protocol, as the exporter sees it."""

    def __init__(self, stream: AnyByteStream, cache: BlockCache) -> None:
        self._stream = stream
        self._cache = cache
        self._buffer: bytes | memoryview = b""
        self._windows: deque[Window | ZeroRun] = deque()
        self._at = 0
        self.received = 0

    async def items(self) -> AsyncGenerator[list[Data]]:
        """The file in order. Raises ImageError for what is not the protocol, and what breaks the stream."""
        while True:
            kind, length = HEADER.unpack(await self._exactly(HEADER.size))
            match kind:
                case b"L" if length == NAME and self._at == 0:
                    async with aclosing(self._borrowed(await self._exactly(length))) as borrowed:
                        async for batch in borrowed:
                            yield batch
                case b"H" if LENGTH.size < length <= LENGTH.size + WINDOW // BLOCK * DIGEST:
                    await self._announced(await self._exactly(length))
                case b"Z" if length == ZEROS.size:
                    self._zeros(*ZEROS.unpack(await self._exactly(length)))
                case b"D":
                    await self._arrives(length)
                case b"E" if not self._windows:
                    await self._end()
                    return
                case _:
                    raise ImageError("the client does not keep to the protocol of blocks", "install the same versions")
            while self._windows and not self._windows[0].missing:
                yield list(self._windows.popleft().items())

    async def _borrowed(self, name: bytes) -> AsyncGenerator[list[Data]]:
        """The file, where it can be read here."""
        file = await in_thread(borrow, name)
        await self._stream.send(b"".join(message(b"L", bytes([file is not None]))))
        if file is not None:
            with file:
                parts = FileParts(file, BORROWED_PART)
                while batch := await in_thread(self._batch, parts):
                    yield batch

    def _batch(self, parts: FileParts) -> list[Data]:
        """Some of a borrowed file: a few megabytes, or many of zeros."""
        batch, weight = list[Data](), 0
        while weight < BATCH and (part := parts.read()):
            if isinstance(part, int):
                batch += ZeroRun(self._at, part).items()
                self._at, weight = self._at + part, weight + part // ZEROS_LIGHTER
            else:
                batch.append(Data(self._at, part))
                self._at, weight = self._at + len(part), weight + len(part)
        return batch

    def _zeros(self, length: int) -> None:
        if not 0 < length <= MOST_ZEROS or length % BLOCK:
            raise ImageError("the client does not keep to the protocol of blocks", "install the same versions")
        self._windows.append(ZeroRun(self._at, length))
        self._at += length

    async def _announced(self, content: bytes) -> None:
        [length] = LENGTH.unpack_from(content)
        digests = [content[at : at + DIGEST] for at in range(LENGTH.size, len(content), DIGEST)]
        if not 0 < length <= WINDOW or len(digests) != -(-length // BLOCK) or len(digests[-1]) != DIGEST:
            raise ImageError("the client does not keep to the protocol of blocks", "install the same versions")
        window = Window(self._at, length, digests, bytearray())
        if self._cache.knows(digests):
            window = await in_thread(self._look_up, window)
        else:
            window.missing = [number for number, digest in enumerate(digests) if digest != ZERO_DIGEST]
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
        return window

    async def _arrives(self, length: int) -> None:
        """Fill in what was wanted."""
        window = next((w for w in self._windows if isinstance(w, Window) and w.missing), None)
        wanted = sum(window.place(n).stop - window.place(n).start for n in window.missing) if window else 0
        if window is None or wanted != length:
            raise ImageError("the client does not keep to the protocol of blocks", "install the same versions")
        if length == window.length == len(self._buffer):  # all at once: it need not be copied
            window.content, self._buffer = memoryview(self._buffer), b""
            await self._keep(window, window.missing)
        else:
            await self._fill(window)
        window.missing = []

    async def _fill(self, window: Window) -> None:
        """Put what arrives to where it belongs."""
        content = window.content = window.content or bytearray(window.length)
        arrived = 0
        try:
            for start, end in _runs(window, window.missing):
                while start < end:
                    piece = await self._some(end - start)
                    content[start : start + len(piece)] = piece
                    start, arrived = start + len(piece), arrived + len(piece)
        finally:  # also what came before the connection broke
            await self._keep(window, window.missing[: arrived // BLOCK])
        await self._keep(window, window.missing[arrived // BLOCK :])

    async def _keep(self, window: Window, numbers: list[int]) -> None:
        if self._cache.keeps and numbers:
            content = memoryview(window.content)
            await in_thread(self._cache.add, [(window.digests[n], content[window.place(n)]) for n in numbers])

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
