"""Where the bytes of an image file come from."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from anyio import EndOfStream
from anyio.abc import AnyByteReceiveStream
from jumpstarter.driver import Driver
from jumpstarter.streams.threads import in_thread

from .blocks import BlockSource
from .cache import DEFAULT_BYTES, BlockCache, cache_folder
from .common import WriteOptions
from .images import Data
from .pipeline import Source

SMALL = 1 << 20
"""Bytes of a file that is not worth keeping."""


class StreamSource:
    """A file that comes as a byte stream, from its start to its end."""

    def __init__(self, stream: AnyByteReceiveStream) -> None:
        self._stream = stream
        self.received = 0

    async def items(self) -> AsyncGenerator[list[Data]]:
        """The bytes as they come; raises what breaks the stream."""
        while True:
            try:
                data = await self._stream.receive()
            except EndOfStream:
                return
            yield [Data(self.received, data)]
            self.received += len(data)


@asynccontextmanager
async def open_source(
    driver: Driver, handle: Any, options: WriteOptions, cache_bytes: int = DEFAULT_BYTES
) -> AsyncGenerator[Source]:
    """The file behind a handle that a client gave a driver; blocks that come one by one are kept for later."""
    async with driver.resource(handle) as stream:
        if not options.blocks:
            yield StreamSource(stream)
            return
        is_small = options.size is not None and options.size < SMALL
        cache = BlockCache(await in_thread(cache_folder), 0 if is_small else cache_bytes)
        await in_thread(cache.open)
        try:
            yield BlockSource(stream, cache)
        finally:
            await in_thread(cache.close)
