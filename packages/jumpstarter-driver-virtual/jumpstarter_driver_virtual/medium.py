"""The storage medium of the simulated board: a file behind a mux."""

import hashlib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

BLOCK = 1024 * 1024
FACTORY_IMAGE = b"jumpstarter-driver-virtual factory image\nnothing in here is executed\n".ljust(4096, b"\0")


class Position(StrEnum):
    """Who the mux connects the medium to."""

    HOST = "host"
    DUT = "dut"
    OFF = "off"


@dataclass(frozen=True)
class Image:
    """Size and identity of what is on the medium."""

    size: int
    sha256: str

    @property
    def short(self) -> str:
        """The first digits of the digest, enough to tell two images apart."""
        return self.sha256[:12]


class Medium:
    """A file that either the host or the board holds.

    The mux is only moved by the thread of the board. The host reads and writes the file in threads of its own, with
    the mux blocked for that time.
    """

    path: Path
    position: Position = Position.DUT
    absent: bool = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._busy: str | None = None

    def move(self, position: Position) -> bool:
        """Turn the mux and return whether it moved.

        Raises OSError while the host reads or writes.
        """
        if self._busy is not None:
            raise OSError(f"the medium {self._busy} right now; wait until that has ended")
        moved, self.position = self.position != position, position
        return moved

    def reserve(self, doing: str) -> None:
        """Block the mux for the host, which says what it is `doing`.

        Raises OSError when the host does not hold the medium, or there is none.
        """
        if self.absent:
            raise OSError("no medium in the slot (the fault medium-absent is set)")
        if self._busy is not None:
            raise OSError(f"the medium {self._busy} right now; wait until that has ended")
        if self.position != Position.HOST:
            raise OSError(f"the medium is at {self.position!s}, not at host; call host first")
        self._busy = doing

    def free(self) -> None:
        """Let the mux move again."""
        self._busy = None

    def size(self) -> int:
        """Return the size in bytes as the board sees it; 0 where it sees no medium, or an empty one."""
        if self.absent or self.position != Position.DUT:
            return 0
        with suppress(OSError):
            return self.path.stat().st_size
        return 0

    def blocks(self) -> Iterator[bytes]:
        """Yield the content block by block."""
        with self.path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block


class HostAccess:
    """The host's hold of the medium for one transfer: bytes in or out, and their digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._file.write(data)
        self._count(data)

    def read(self) -> bytes:
        """Return the next block; nothing at the end."""
        data = self._file.read(BLOCK)
        self._count(data)
        return data

    def verify(self) -> Image:
        """Bring what was written to the disk, read it back and compare.

        Raises OSError when something else comes back.
        """
        written = self.image
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.seek(0)
        self._digest, self._size = hashlib.sha256(), 0
        while self.read():
            pass
        if self.image != written:
            raise OSError(f"wrote {written}, read back {self.image}; the medium is not to be trusted")
        return written

    @property
    def image(self) -> Image:
        """What has passed so far."""
        return Image(self._size, self._digest.hexdigest())

    def _count(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)


@contextmanager
def open_medium(path: Path, *, write: bool) -> Generator[HostAccess]:
    """Open the file of the medium for one transfer; `write` empties it first."""
    with path.open("w+b" if write else "rb") as file:
        yield HostAccess(file)
