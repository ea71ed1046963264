"""The clients of storage drivers: of those of this project, and of all others that keep to the public interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from jumpstarter.client import DriverClient

if TYPE_CHECKING:
    import click

    from .common import TransferResult
    from .transfers import PathBuf, Transfers, Watcher


@dataclass(kw_only=True)
class StorageMuxClient(DriverClient):
    """A medium that either the host or the device has."""

    typed_results = True

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

    def incomplete(self) -> str | None:
        """What the medium holds a part of, where a transfer ended in the middle; None where it is whole."""
        from .transfers import describes

        return self.call("incomplete") if describes(self, "incomplete") else None

    def write(self, handle: Mapping[str, Any]) -> Any:
        """Write the image behind a handle to the medium."""
        return self.call("write", handle)

    def read(self, handle: Mapping[str, Any]) -> Any:
        """Send the content of the medium to a handle."""
        return self.call("read", handle)

    def write_file(self, operator: Any, path: str) -> TransferResult | None:
        """Write an image to the medium that this client reads from a store; `operator` is one of opendal."""
        return _transfers(self, None).upload("write", path, operator=operator)

    def read_file(self, operator: Any, path: str) -> TransferResult | None:
        """Read the medium into an object of a store."""
        return _transfers(self, None).download("read", path, operator=operator)

    def write_local_file(
        self, path: PathBuf, *, progress: Watcher | None = None, **options: Any
    ) -> TransferResult | None:
        """Write an image file to the medium, which goes to the host and stays there.

        The options are those of `StorageMuxFlasherClient.flash`.
        """
        return _transfers(self, progress).upload("write", path, **options)

    def read_local_file(
        self, path: PathBuf, *, compression: str | None = None, progress: Watcher | None = None
    ) -> TransferResult | None:
        """Read the medium into a file, which replaces what is there once everything was read."""
        return _transfers(self, progress).download("read", path, compression=compression)

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
    def dump(self, path: PathBuf, *, target: str | None = None, compression: str | None = None) -> Any:
        """Read an image."""


@dataclass(kw_only=True)
class FlasherClient(FlasherClientInterface, DriverClient):
    """A device with one or more places for images."""

    typed_results = True

    def flash(
        self,
        path: PathBuf | Mapping[str, PathBuf],
        *,
        target: str | None = None,
        operator: Any = None,
        progress: Watcher | None = None,
        **options: Any,
    ) -> Any:
        """Write an image file to the place `target`; of a mapping, each file to the place of its name.

        Returns what the driver says of it, by name for a mapping. A path is a file, `-` for the standard input, a URL,
        or, with an `operator` of opendal (for a mapping, one for each name, or one for all), an object that this client
        reads from that store. With `compression` (gzip, xz, bz2 or zstd), the file holds compressed data, and the
        driver sees the content. The other options are those of `StorageMuxFlasherClient.flash`, for drivers that use
        this package's pipeline.
        """
        if not isinstance(path, Mapping):
            return _transfers(self, progress).upload("flash", path, target, operator=operator, **options)
        one_each = isinstance(operator, Mapping)
        operators = cast("Mapping[str, Any]", operator) if one_each else dict.fromkeys(path, operator)
        if target is not None or operators.keys() != path.keys():
            from jumpstarter.common.exceptions import ArgumentError

            raise ArgumentError("of a mapping, the names are the targets, and those of the operators, too")
        return {
            name: self.flash(file, target=name, operator=operators[name], progress=progress, **options)
            for name, file in path.items()
        }

    def dump(
        self,
        path: PathBuf,
        *,
        target: str | None = None,
        operator: Any = None,
        compression: str | None = None,
        progress: Watcher | None = None,
    ) -> Any:
        """Read what is in the place `target` into a file, which is compressed with `compression`.

        With an `operator` of opendal, the file is an object of that store.
        """
        return _transfers(self, progress).download("dump", path, target, compression=compression, operator=operator)

    def cli(self) -> click.Group:
        """The commands `flash` and `dump`."""
        from .cli import flasher_commands

        return flasher_commands(self)


@dataclass(kw_only=True)
class StorageMuxFlasherClient(FlasherClient, StorageMuxClient):
    """A medium behind a mux, which is flashed as a whole."""

    def flash(
        self,
        path: Any,
        *,
        target: str | None = None,
        operator: Any = None,
        to_dut: bool = True,
        progress: Watcher | None = None,
        **options: Any,
    ) -> TransferResult | None:
        """Write an image to the medium, and connect it to the device unless `to_dut` is false.

        `path` is a file, `-` for the standard input, a URL, or, with an `operator` of opendal, an object of that store.
        When something fails, the medium stays at the host: the device never boots half of an image.

        A URL is http(s)://…, oci://HOST/NAME:TAG of an artifact, store://NAME/PATH in a store that the exporter is
        configured with, or one such as s3://BUCKET/PATH. `fetch` is who reads it: "exporter", which is what its
        configuration allows, or "client", with the user's own rights; by default the exporter where it can.

        Options: `verify` is full, sampled or off; `sha256` what the file's digest has to be; `bmap` the path of a bmap
        file; `decompress=False` writes the file as it is; `lend=False` sends a file even to an exporter that can read
        it itself, being on this host and of the same user. Returns None from drivers that say nothing of what they did.
        """
        self._check_target(target)
        written = _transfers(self, progress, self.host).upload("write", path, operator=operator, **options)
        if to_dut:
            self.dut()
        return written

    def dump(
        self,
        path: PathBuf,
        *,
        target: str | None = None,
        operator: Any = None,
        to_dut: bool = True,
        compression: str | None = None,
        progress: Watcher | None = None,
    ) -> TransferResult | None:
        """Read the medium into a file, and connect it to the device unless `to_dut` is false.

        With an `operator` of opendal, the file is an object of that store.
        """
        self._check_target(target)
        transfers = _transfers(self, progress, self.host)
        read = transfers.download("read", path, compression=compression, operator=operator)
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


def _transfers(client: DriverClient, progress: Watcher | None, begin: Callable[[], object] = lambda: None) -> Transfers:
    from .transfers import Transfers

    return Transfers(client, begin, progress)
