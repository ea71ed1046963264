"""A file as the client sends it by the protocol of `blocks.py`."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from anyio import (
    BrokenResourceError,
    Condition,
    EndOfStream,
    WouldBlock,
    create_memory_object_stream,
    create_task_group,
)
from anyio.abc import ObjectStream
from jumpstarter.common.groups import ungrouped
from jumpstarter.streams.frames import MAX_FRAME

from .blocks import DIGEST, HEADER, LENGTH, WINDOWS, ZEROS, message, unbits
from .common import BLOCK
from .windows import Part, SentWindow, SentZeros, Windows


class BlockSender(ObjectStream[bytes]):
    """What goes to the exporter when this is received from, and what comes from it when it is sent to."""

    def __init__(self, source: Windows, lent: bytes | None = None) -> None:
        """`lent` is the name by which an exporter can borrow the file instead."""
        self._source = source
        self._read, self._prepared = create_memory_object_stream[Part](0)
        self._ready: deque[bytes | memoryview] = deque()
        self._announced: deque[SentWindow] = deque()
        self._answers: deque[bytes] = deque()
        self._incoming = bytearray()
        self._changed = Condition()
        self._is_asked = lent is not None
        if lent is not None:
            self._ready += message(b"L", lent)
        self._is_read = False
        self._is_broken = False
        self._is_over = False

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[BlockSender]:
        """Read ahead meanwhile."""
        with self._read, self._prepared, ungrouped():
            async with create_task_group() as tasks:
                tasks.start_soon(self._read_ahead)
                try:
                    yield self
                finally:
                    tasks.cancel_scope.cancel()

    async def _read_ahead(self) -> None:
        async with self._read:
            try:
                await self._until(lambda: not self._is_asked)
                while (part := await self._source.next()) is not None:
                    await self._read.send(part)
            except BaseException:
                self._is_broken = True  # before this ends, so that nobody takes it for the end of the file
                raise

    async def receive(self) -> bytes:
        """The next bytes for the exporter."""
        while not self._ready:
            if self._is_asked:
                await self._until(lambda: not self._is_asked)
            elif self._announced and self._answers:
                self._take_answer()
            elif len(self._announced) < WINDOWS and not self._is_read:
                await self._announce()
            elif not self._announced:
                if self._is_over:
                    raise EndOfStream
                self._is_over = True
                self._ready += message(b"E")
            else:
                await self._until(lambda: bool(self._answers))
        return self._frame()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with self._changed:
            while not is_so():
                await self._changed.wait()

    def _frame(self) -> bytes:
        """As much of what is ready as fits into a frame: few large messages are cheaper than many small ones."""
        size, parts = 0, list[bytes | memoryview]()
        while self._ready and size + len(self._ready[0]) <= MAX_FRAME:
            parts.append(self._ready.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    async def _announce(self) -> None:
        try:
            part = await self._prepared.receive()
        except EndOfStream:
            if self._is_broken:
                raise BrokenResourceError from None
            self._is_read = True
            return
        self._tell(part)

    def _tell(self, part: Part) -> None:
        if isinstance(part, SentZeros):
            self._ready += message(b"Z", ZEROS.pack(part.length))
        else:
            self._announced.append(part)
            self._ready += message(b"H", LENGTH.pack(len(part.content)), part.digests)

    def _take_answer(self) -> None:
        window = self._announced.popleft()
        content, flags = window.content, unbits(self._answers.popleft(), len(window.digests) // DIGEST)
        with suppress(WouldBlock, EndOfStream):  # what has been read meanwhile is told in the same frame
            self._tell(self._prepared.receive_nowait())
        if all(flags):
            self._ready += message(b"D", content)
        elif any(flags):
            wanted = [content[number * BLOCK : (number + 1) * BLOCK] for number, flag in enumerate(flags) if flag]
            self._ready += message(b"D", *wanted)

    async def send(self, item: bytes) -> None:
        """Take what the exporter says."""
        self._incoming += item
        async with self._changed:
            while len(self._incoming) >= HEADER.size:
                kind, length = HEADER.unpack_from(self._incoming)
                if len(self._incoming) < HEADER.size + length:
                    break
                content = bytes(self._incoming[HEADER.size : HEADER.size + length])
                del self._incoming[: HEADER.size + length]
                if kind == b"L":
                    self._is_asked, self._is_read = False, content == b"\1"
                else:
                    self._answers.append(content)
            self._changed.notify_all()

    async def send_eof(self) -> None:
        """The exporter asks for no more: it has failed, or is done."""

    async def aclose(self) -> None:
        """Nothing is left to do: `reading` ends what reads ahead."""
