"""Where the bytes of an image file come from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

from anyio import EndOfStream, fail_after
from jumpstarter.driver import Driver
from jumpstarter.streams.threads import in_thread

from .blocks import BlockSource
from .cache import DEFAULT_BYTES, BlockCache, cache_folder
from .common import OWN_FETCHED, WriteOptions, is_url, scheme_of
from .fetching import open_origin
from .images import Data
from .origins import Origins
from .pipeline import Source

SMALL = 1 << 20
"""Bytes of a file that is not worth keeping."""

FETCH_TIMEOUT = 7200.0
"""Seconds that a transfer may take."""


class Receiving(Protocol):
    """What bytes are received from, until EndOfStream."""

    async def receive(self) -> bytes: ...


class StreamSource:
    """A file that comes as a byte stream, from its start to its end."""

    def __init__(self, stream: Receiving) -> None:
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
    driver: Driver,
    handle: Any,
    options: WriteOptions,
    cache_bytes: int = DEFAULT_BYTES,
    origins: Callable[[], Origins] | None = None,
) -> AsyncGenerator[Source]:
    """The file behind a handle that a client gave a driver; blocks that come one by one are kept for later.

    `origins` says from where the driver reads images that are elsewhere; None: only what its `url_rules` allow.
    """
    if (url := _own_url(handle)) is not None:
        within = origins() if origins is not None else Origins(urls=driver.url_rules())
        with fail_after(FETCH_TIMEOUT):
            async with open_origin(url, within) as incoming:
                yield StreamSource(incoming)
        return
    async with driver.resource(handle, FETCH_TIMEOUT) as stream:
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


def _own_url(handle: Any) -> str | None:
    """The URL of a handle, where it is one that the core does not read."""
    if not isinstance(handle, Mapping):
        return None
    fields = cast("Mapping[str, object]", handle)
    url = fields.get("url")
    return url if isinstance(url, str) and is_url(url) and scheme_of(url) in OWN_FETCHED else None
