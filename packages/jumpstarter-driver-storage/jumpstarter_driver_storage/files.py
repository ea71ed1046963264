"""Local files that a driver reads or writes."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jumpstarter.streams.files import FileStream

__all__ = ["FileStream", "replacing"]


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
