"""Where the bytes of an image file come from."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from anyio import EndOfStream
from anyio.abc import AnyByteReceiveStream

from .images import Data


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
