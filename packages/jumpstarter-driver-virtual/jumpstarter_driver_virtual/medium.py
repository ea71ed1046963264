"""The storage medium of the simulated board: a file behind a mux."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

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
    """A file that either the host or the board holds; only the thread of the board moves the mux."""

    path: Path
    position: Position = Position.DUT
    absent: bool = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def move(self, position: Position) -> bool:
        """Turn the mux and return whether it moved."""
        moved, self.position = self.position != position, position
        return moved

    def at_host(self) -> Path:
        """The file, for the host; OSError where there is no medium, or the host does not have it."""
        if self.absent:
            raise OSError("no medium in the slot (the fault medium-absent is set)")
        if self.position != Position.HOST:
            raise OSError(f"the medium is at {self.position!s}, not at host; call host first")
        return self.path

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
