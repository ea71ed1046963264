"""A local file as the byte stream that a driver reads or writes."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from anyio import EndOfStream, to_thread
from anyio.abc import ByteStream
from jumpstarter.streams.common import CHUNK


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
        await to_thread.run_sync(self._file.write, item)

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        await to_thread.run_sync(self._file.flush)


@contextmanager
def replacing(path: Path) -> Generator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the context ends without an error.

    What is there and no regular file, a device for one, is written in place, and never removed.
    """
    target = path.resolve()  # a link stays
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    if target.exists():
        target.open("r+b").close()  # says now when it may not be written
    part = target.with_name(f".dump-{os.urandom(6).hex()}.part")
    with part.open("xb") as file:
        try:
            yield file
            file.close()
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
