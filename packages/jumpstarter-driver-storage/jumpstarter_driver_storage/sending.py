"""A file as the client sends it by the protocol of `blocks.py`."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from io import FileIO
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
from jumpstarter.streams.threads import in_thread

from .blocks import DIGEST, HEADER, LENGTH, WINDOW, WINDOWS, message, unbits
from .common import BLOCK
from .images import ZERO_DIGEST, is_zero


class _Announced:
    """A window whose blocks may still be wanted."""

    def __init__(self, length: int, content: memoryview, digests: bytes) -> None:
        self.length, self.content, self.digests = length, content, digests

    @property
    def count(self) -> int:
        return len(self.digests) // DIGEST

    def wanted(self, answer: bytes) -> list[memoryview]:
        """The blocks that an answer wants."""
        flags = unbits(answer, self.count)
        return [self.content[number * BLOCK : (number + 1) * BLOCK] for number, flag in enumerate(flags) if flag]


class BlockSender(ObjectStream[bytes]):
    """What goes to the exporter when this is received from, and what comes from it when it is sent to."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        status = os.fstat(file.fileno())
        self._holes = stat.S_ISREG(status.st_mode)
        self._windows, self._prepared = create_memory_object_stream[_Announced](1)
        self._ready: deque[bytes | memoryview] = deque()
        self._announced: deque[_Announced] = deque()
        self._answers: deque[bytes] = deque()
        self._incoming = bytearray()
        self._changed = Condition()
        self._is_read = False
        self._is_over = False

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[BlockSender]:
        """Read the file ahead meanwhile."""
        with ungrouped():
            async with create_task_group() as tasks:
                tasks.start_soon(self._read_ahead)
                try:
                    yield self
                finally:
                    tasks.cancel_scope.cancel()

    async def _read_ahead(self) -> None:
        async with self._windows:
            while (window := await in_thread(self._next_window)) is not None:
                await self._windows.send(window)

    def _next_window(self) -> _Announced | None:
        if self._holes and (hole := self._hole()):
            return _Announced(hole, memoryview(b""), ZERO_DIGEST * (hole // BLOCK))
        content = bytearray(WINDOW)
        view, length = memoryview(content), 0
        while length < WINDOW:
            count = self._file.readinto(view[length:])
            if not count:
                break
            length += count
        if not length:
            return None
        digests = bytearray()
        for start in range(0, length, BLOCK):
            block = view[start : min(length, start + BLOCK)]
            whole = len(block) == BLOCK
            digests += ZERO_DIGEST if whole and is_zero(block) else hashlib.sha256(block).digest()
        return _Announced(length, view[:length], bytes(digests))

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
        wanted = window.wanted(self._answers.popleft())
        if not wanted:
            return
        if len(wanted) == window.count:
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
            self._windows.close()
