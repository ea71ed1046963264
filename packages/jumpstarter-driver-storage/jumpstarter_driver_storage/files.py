"""Local files that a driver reads or writes."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from anyio.abc import ByteStream
from jumpstarter.streams.files import FileStream

from .origins import Incoming

__all__ = ["FileStream", "IncomingStream", "replacing"]


class IncomingStream(ByteStream):
    """What is read from somewhere else, as a byte stream to be sent."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._incoming.receive()

    async def send(self, item: bytes) -> None:
        raise NotImplementedError("what is somewhere else can be read only")

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


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
        except BaseException as e:
            part.unlink(missing_ok=True)
            if isinstance(e, OSError) and e.filename == str(part):
                e.filename = str(target)
            raise
