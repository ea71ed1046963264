"""The client of drivers that write images, where they need no more than the core."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..common.exceptions import ArgumentError
from .base import DriverClient
from .decorators import driver_click_group

if TYPE_CHECKING:
    import click

PathBuf = str | os.PathLike[str]


class FlasherClientInterface(ABC):
    """What every client of a flasher offers, with its commands."""

    @abstractmethod
    def flash(
        self, path: PathBuf | Mapping[str, PathBuf], *, target: str | None = None, compression: str | None = None
    ) -> Any:
        """Write a file, or a file to each of several partitions."""

    @abstractmethod
    def dump(self, path: PathBuf, *, target: str | None = None, compression: str | None = None) -> Any:
        """Read the device, or one partition, into a file."""

    def cli(self) -> click.Group:
        import click

        @driver_click_group(self)  # pyright: ignore[reportArgumentType] the other base is a client
        def base() -> None:
            """Write and read images"""

        compression = click.option("--compression", metavar="NAME", help="What FILE is compressed with: gzip, xz, …")

        @base.command()
        @click.argument("file", required=False)
        @click.option(
            "-t", "--target", metavar="[NAME:]FILE", multiple=True, help="A partition, and what to write to it"
        )
        @compression
        def flash(file: str | None, target: tuple[str, ...], compression: str | None) -> None:
            """Write FILE, a path or a URL, to the device"""
            named = dict(item.split(":", 1) for item in target if ":" in item)
            plain = [item for item in target if ":" not in item]
            if (file is None) == (not named) or len(plain) > 1 or (named and plain):
                raise click.UsageError("give FILE, and --target NAME with it, or only --target NAME:FILE, one or more")
            self.flash(named or str(file), target=plain[0] if plain else None, compression=compression)

        @base.command()
        @click.argument("file")
        @click.option("-t", "--target", metavar="NAME", help="A partition")
        @compression
        def dump(file: str, target: str | None, compression: str | None) -> None:
            """Read the device into FILE"""
            self.dump(file, target=target, compression=compression)

        _ = flash, dump  # registered above
        return base


@dataclass(kw_only=True)
class FlasherClient(FlasherClientInterface, DriverClient):
    """Sends files to a flasher; of a URL it sends the URL."""

    def flash(
        self, path: PathBuf | Mapping[str, PathBuf], *, target: str | None = None, compression: str | None = None
    ) -> Any:
        """Write a file or URL; of several partitions, the results by name. ArgumentError for `target` beside those."""
        if isinstance(path, Mapping):
            if target is not None:
                raise ArgumentError("flash: the partitions are in the mapping, so there is no other target")
            return {name: self.flash(one, target=name, compression=compression) for name, one in path.items()}
        return self._with_file("flash", path, "rb", target, compression)

    def dump(self, path: PathBuf, *, target: str | None = None, compression: str | None = None) -> Any:
        """Read the device, or one partition, into a file, or by PUT to a URL."""
        return self._with_file("dump", path, "wb", target, compression)

    def _with_file(self, method: str, path: PathBuf, mode: str, target: str | None, compression: str | None) -> Any:
        if str(path).startswith(("http://", "https://")):
            verb = "GET" if mode == "rb" else "PUT"
            handle: dict[str, Any] = {"kind": "presigned_request", "headers": {}, "url": str(path), "method": verb}
            return self.call(method, handle, target)
        return self.portal.call(partial(self._with_local_file, method, Path(path), mode, target, compression))

    async def _with_local_file(
        self, method: str, path: Path, mode: str, target: str | None, compression: str | None
    ) -> Any:
        from anyio import to_thread

        from ..streams.files import FileStream

        with cast("BinaryIO", await to_thread.run_sync(path.open, mode)) as file:
            async with self.resource_async(FileStream(file), compression) as handle:
                return await self.call_async(method, handle, target)
