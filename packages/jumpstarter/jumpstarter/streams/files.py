"""Local files as byte streams."""

from __future__ import annotations

from typing import BinaryIO

from anyio import EndOfStream, to_thread
from anyio.abc import ByteStream

from .common import CHUNK


class FileStream(ByteStream):
    """A file that is sent, when it is open for reading, or received, when it is open for writing."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        data = await to_thread.run_sync(self._file.read, max_bytes) if self._file.readable() else b""
        if not data:
            raise EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        try:
            await to_thread.run_sync(self._file.write, item)
        except OSError as e:
            e.filename = self._file.name  # the system does not say it
            raise

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        await to_thread.run_sync(self._file.flush)
