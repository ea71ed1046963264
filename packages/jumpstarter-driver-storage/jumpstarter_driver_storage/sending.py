"""A file as the client sends it by the protocol of `blocks.py`."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import cast

from anyio import (
    ClosedResourceError,
    Condition,
    EndOfStream,
    create_memory_object_stream,
    create_task_group,
)
from anyio.abc import ObjectStream
from jumpstarter.common.groups import ungrouped
from jumpstarter.streams.frames import MAX_FRAME

from .blocks import DIGEST, HEADER, LENGTH, WINDOWS, message, unbits
from .common import BLOCK
from .windows import SentWindow, Windows


class BlockSender(ObjectStream[bytes]):
    """What goes to the exporter when this is received from, and what comes from it when it is sent to."""

    def __init__(self, source: Windows) -> None:
        self._source = source
        self._read, self._prepared = create_memory_object_stream[SentWindow](0)
        self._ready: deque[bytes | memoryview] = deque()
        self._announced: deque[SentWindow] = deque()
        self._answers: deque[bytes] = deque()
        self._incoming = bytearray()
        self._changed = Condition()
        self._is_read = False
        self._is_over = False

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[BlockSender]:
        """Read ahead meanwhile."""
        with ungrouped():
            async with create_task_group() as tasks:
                tasks.start_soon(self._read_ahead)
                try:
                    yield self
                finally:
                    tasks.cancel_scope.cancel()

    async def _read_ahead(self) -> None:
        async with self._read:
            while (window := await self._source.next()) is not None:
                await self._read.send(window)

    async def receive(self) -> bytes:
        """The next bytes for the exporter."""
        while not self._ready:
            if self._announced and self._answers:
                self._take_answer()
            elif len(self._announced) < WINDOWS and not self._is_read:
                await self._announce()
            elif not self._announced:
                if self._is_over:
                    raise EndOfStream
                self._is_over = True
                self._ready += message(b"E")
            else:
                async with self._changed:
                    if not self._answers:
                        await self._changed.wait()
        return cast("bytes", self._ready.popleft())  # a frame takes memory views, too

    async def _announce(self) -> None:
        try:
            window = await self._prepared.receive()
        except EndOfStream:
            self._is_read = True
            return
        self._announced.append(window)
        self._ready.append(b"".join(message(b"H", LENGTH.pack(window.length), window.digests)))

    def _take_answer(self) -> None:
        window = self._announced.popleft()
        count = len(window.digests) // DIGEST
        flags = unbits(self._answers.popleft(), count)
        wanted = [window.content[number * BLOCK : (number + 1) * BLOCK] for number, flag in enumerate(flags) if flag]
        if not wanted:
            return
        if len(wanted) == count:
            head, *_ = message(b"D", window.content)
            self._ready.append(head)
            for start in range(0, window.length, MAX_FRAME):
                self._ready.append(window.content[start : start + MAX_FRAME])
        else:
            head, *_ = message(b"D", *wanted)
            self._ready.append(head)
            for start in range(0, len(wanted), MAX_FRAME // BLOCK):
                self._ready.append(b"".join(wanted[start : start + MAX_FRAME // BLOCK]))

    async def send(self, item: bytes) -> None:
        """Take what the exporter says."""
        self._incoming += item
        async with self._changed:
            while len(self._incoming) >= HEADER.size:
                _, length = HEADER.unpack_from(self._incoming)
                if len(self._incoming) < HEADER.size + length:
                    break
                self._answers.append(bytes(self._incoming[HEADER.size : HEADER.size + length]))
                del self._incoming[: HEADER.size + length]
            self._changed.notify_all()

    async def send_eof(self) -> None:
        """The exporter asks for no more: it has failed, or is done."""

    async def aclose(self) -> None:
        self._prepared.close()
        with suppress(ClosedResourceError):
            self._read.close()
