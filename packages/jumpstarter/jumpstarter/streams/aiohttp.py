"""The body of an HTTP request or response of aiohttp as a byte stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from anyio import EndOfStream
from anyio.abc import ObjectStream


class StreamReader(Protocol):
    """What is needed of `aiohttp.StreamReader`."""

    async def readany(self) -> bytes: ...


@dataclass(kw_only=True)
class AiohttpStreamReaderStream(ObjectStream[bytes]):
    """Receives what a reader has; it can be sent nothing."""

    reader: StreamReader

    async def receive(self) -> bytes:
        """The next bytes; EndOfStream at the end."""
        if data := await self.reader.readany():
            return data
        raise EndOfStream

    async def send(self, item: bytes) -> None:
        raise NotImplementedError("the body of an HTTP message can only be received")

    async def send_eof(self) -> None:
        raise NotImplementedError("the body of an HTTP message can only be received")

    async def aclose(self) -> None:
        """Nothing: the reader belongs to its request or response."""
