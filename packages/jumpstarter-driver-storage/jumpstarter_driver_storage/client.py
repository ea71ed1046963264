"""The clients of storage drivers: of those of this project, and of all others that keep to the public interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from jumpstarter.client import DriverClient

from .common import Progress, TransferResult, WriteOptions

if TYPE_CHECKING:
    import click

PathBuf = str | PathLike[str]

Watcher = Callable[[Progress], None]
"""Called with how far a transfer is, again and again."""


@dataclass(kw_only=True)
class StorageMuxClient(DriverClient):
    """A medium that either the host or the device has."""

    def host(self) -> None:
        """Connect the medium to the host."""
        self.call("host")

    def dut(self) -> None:
        """Connect the medium to the device."""
        self.call("dut")

    def off(self) -> None:
        """Connect the medium to nothing."""
        self.call("off")

    def state(self) -> str:
        """Where the medium is: host, dut or off. DriverMethodNotImplemented where the driver cannot tell."""
        return self.call("state")

    def write(self, handle: Mapping[str, Any]) -> Any:
        """Write the image behind a handle to the medium."""
        return self.call("write", handle)

    def read(self, handle: Mapping[str, Any]) -> Any:
        """Send the content of the medium to a handle."""
        return self.call("read", handle)

    def write_local_file(self, path: PathBuf, **options: Any) -> TransferResult | None:
        """Write an image file to the medium, where the medium is now; see `flash` for the options."""
        return _Transfers(self).upload("write", path, **options)

    def read_local_file(self, path: PathBuf, **options: Any) -> TransferResult | None:
        """Read the medium into a file, which replaces what is there once everything was read."""
        return _Transfers(self).download("read", path, **options)

    def cli(self) -> click.Group:
        """The commands `host`, `dut`, `off` and `state`."""
        from .cli import mux_commands

        return mux_commands(self)


class FlasherClientInterface(ABC):
    """What every client that flashes has."""

    @abstractmethod
    def flash(self, path: Any, *, target: str | None = None, **options: Any) -> Any:
        """Write an image."""

    @abstractmethod
    def dump(self, path: PathBuf, *, target: str | None = None, **options: Any) -> Any:
        """Read an image."""


@dataclass(kw_only=True)
class FlasherClient(FlasherClientInterface, DriverClient):
    """A device with one or more places for images."""

    def flash(self, path: PathBuf | Mapping[str, PathBuf], *, target: str | None = None, **options: Any) -> Any:
        """Write an image file to the place `target`; of a mapping, each file to the place of its name."""
        if isinstance(path, Mapping):
            if target is not None:
                from jumpstarter.common.exceptions import ArgumentError

                raise ArgumentError("target and a mapping of targets exclude each other")
            return {name: self.flash(file, target=name, **options) for name, file in path.items()}
        return _Transfers(self).upload("flash", path, target, **options)

    def dump(self, path: PathBuf, *, target: str | None = None, **options: Any) -> Any:
        """Read what is in the place `target` into a file."""
        return _Transfers(self).download("dump", path, target, **options)

    def cli(self) -> click.Group:
        """The commands `flash` and `dump`."""
        from .cli import flasher_commands

        return flasher_commands(self)


@dataclass(kw_only=True)
class StorageMuxFlasherClient(FlasherClient, StorageMuxClient):
    """A medium behind a mux, which is flashed as a whole."""

    def flash(
        self, path: Any, *, target: str | None = None, to_dut: bool = True, **options: Any
    ) -> TransferResult | None:
        """Write an image file to the medium, and connect it to the device unless `to_dut` is false.

        When something fails, the medium stays at the host: the device never boots half of an image.
        """
        self._check_target(target)
        written = _Transfers(self, begin=self.host).upload("write", path, **options)
        if to_dut:
            self.dut()
        return written

    def dump(
        self, path: PathBuf, *, target: str | None = None, to_dut: bool = True, **options: Any
    ) -> TransferResult | None:
        """Read the medium into a file, and connect it to the device unless `to_dut` is false."""
        self._check_target(target)
        read = _Transfers(self, begin=self.host).download("read", path, **options)
        if to_dut:
            self.dut()
        return read

    def _check_target(self, target: str | None) -> None:
        if target is not None:
            from jumpstarter.common.exceptions import ArgumentError

            raise ArgumentError(f"target {target!r}: a storage mux has one medium, and no names for its parts")

    def cli(self) -> click.Group:
        """The commands `flash`, `dump`, `host`, `dut`, `off` and `state`."""
        from .cli import mux_flasher_commands

        return mux_flasher_commands(self)


class _Transfers:
    """Files on their way to and from a driver."""

    def __init__(self, client: DriverClient, begin: Callable[[], object] = lambda: None) -> None:
        self._client = client
        self._begin = begin
        """Called once the file is open, and before anything is sent."""

    def upload(self, method: str, path: PathBuf, *args: Any, **options: Any) -> TransferResult | None:
        with Path(path).open("rb") as file:
            self._begin()
            return _result(self._client.portal.call(self._send, method, file, args, options))

    def download(self, method: str, path: PathBuf, *args: Any) -> TransferResult | None:
        from .files import replacing

        with replacing(Path(path)) as file:
            self._begin()
            return _result(self._client.portal.call(self._receive, method, file, args))

    async def _send(self, method: str, file: BinaryIO, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        from .files import FileStream

        async with self._client.resource_async(FileStream(file)) as handle:
            if takes_options(self._client, method):
                return await self._client.call_async(method, handle, *args, asdict(WriteOptions(**options)))
            return await self._client.call_async(method, handle, *args)

    async def _receive(self, method: str, file: BinaryIO, args: tuple[Any, ...]) -> Any:
        from .files import FileStream

        async with self._client.resource_async(FileStream(file)) as handle:
            return await self._client.call_async(method, handle, *args)


def takes_options(client: DriverClient, method: str) -> bool:
    """Whether a driver is one of ours, which says so by describing the parameter."""
    described = client.driver_type
    if described is None:
        return False
    known = next((known for known in described.methods if known.name == method), None)
    return known is not None and any(parameter.name == "options" for parameter in known.parameters)


def _result(value: Any) -> TransferResult | None:
    """What a driver returned; those of others return nothing."""
    if isinstance(value, TransferResult):
        return value
    return TransferResult.of(value) if isinstance(value, Mapping) and "bytes" in value else None
