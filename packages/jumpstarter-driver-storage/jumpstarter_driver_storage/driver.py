"""Media of the exporter's host, and the interfaces of all storage drivers."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export

from .blockdevices import names_device
from .common import Position, TransferResult, WriteOptions
from .devices import Rules
from .interface import FlasherInterface, StorageMuxFlasherInterface, StorageMuxInterface
from .mux import StorageMux
from .pipeline import medium_of, new_plan, write_image
from .reading import read_image
from .sources import open_source
from .tracker import Tracker

__all__ = [
    "FileStorage",
    "FlasherInterface",
    "MockFlasher",
    "MockStorageMux",
    "MockStorageMuxFlasher",
    "StorageMux",
    "StorageMuxFlasherInterface",
    "StorageMuxInterface",
]


@dataclass(kw_only=True)
class FileStorage(StorageMux):
    """A block device of the host, such as a card reader or an eMMC over USB, or a file that stands for a medium.

    Nothing switches: `host`, `dut` and `off` are remembered only, for whoever moves the card by hand.
    """

    path: str
    """The block device, best by its link in /dev/disk/by-id or by-path, or the file, which is made if it is missing."""

    size_bytes: int | None = None
    """Size of a file that stands for a medium; None: it takes the size of the image."""

    _position: Position = field(default=Position.HOST, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        path = Path(self.path).expanduser()
        if path.is_dir():
            raise ConfigurationError(f"path: {path} is a directory; name a block device or a file")
        if not path.parent.is_dir() and not names_device(path):
            raise ConfigurationError(f"path: the directory {path.parent} does not exist")
        if self.size_bytes is not None and self.size_bytes <= 0:
            raise ConfigurationError("size_bytes must be more than 0")

    def identity(self) -> str | None:
        """The device or file: two exporters never write one at a time."""
        return str(Path(self.path).expanduser().absolute())

    def switch(self, position: Position) -> None:
        self._position = position
        self.logger.debug("position %s", position)

    def position(self) -> Position:
        return self._position

    def medium(self) -> Path:
        return Path(self.path).expanduser()

    def rules(self) -> Rules:
        return Rules(
            internal=self.internal,
            max_size_bytes=self.max_size_bytes,
            serial=self.device_serial,
            size_bytes=self.size_bytes,
        )


@dataclass(kw_only=True)
class MockStorageMux(FileStorage):
    """A mux without hardware, whose medium is a file; by default one that goes away with the driver."""

    path: str = ""
    """The file; empty for a temporary one."""

    file: str | None = None
    """The file, by the name that the public release has for `path`."""

    _temporary: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.path = self.file or self.path
        if not self.path:
            self._temporary = tempfile.TemporaryDirectory(prefix="storage-")
            self.path = str(Path(self._temporary.name) / "medium.img")
        super().__post_init__()

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_storage.client.StorageMuxClient"

    def medium_key(self) -> str | None:
        return None if self._temporary is not None else super().medium_key()

    def close(self) -> None:
        """Remove a temporary file."""
        super().close()
        if self._temporary is not None:
            self._temporary.cleanup()


@dataclass(kw_only=True)
class MockStorageMuxFlasher(MockStorageMux):
    """A mux without hardware, whose client flashes."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_storage.client.StorageMuxFlasherClient"


@dataclass(kw_only=True)
class MockFlasher(FlasherInterface, Driver):
    """A device without hardware that keeps one image for each name, in files that go away with the driver."""

    _folder: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._folder = tempfile.mkdtemp(prefix="flasher-")

    @export
    async def flash(
        self, source: Any, target: str | None = None, options: WriteOptions | None = None
    ) -> TransferResult:
        """Write an image to the place of that name, by the pipeline of all storage drivers."""
        plan = new_plan(options or WriteOptions(), "full")
        async with (
            open_source(self, source, plan.options) as file,
            medium_of(self._place(target), write=True, rules=Rules()) as medium,
        ):
            return await write_image(medium, file, plan, Tracker())

    @export
    async def dump(self, target: Any, partition: str | None = None) -> TransferResult:
        """Send what is in the place of that name to a handle."""
        place = self._place(partition)
        async with self.resource(target) as stream, medium_of(place, write=False, rules=Rules()) as medium:
            return await read_image(medium, stream, Tracker())

    def _place(self, name: str | None) -> Path:
        name = name or "default"
        if "/" in name or name.startswith("."):
            raise ValueError(f"{name!r} is not the name of a place")
        return Path(self._folder) / name

    def close(self) -> None:
        """Remove the files."""
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)
