"""The commands of storage clients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from jumpstarter.client.decorators import DriverClickGroup, driver_click_group

if TYPE_CHECKING:
    from .client import FlasherClient, StorageMuxClient, StorageMuxFlasherClient
    from .common import TransferResult


def mux_commands(client: StorageMuxClient) -> DriverClickGroup:
    """`host`, `dut`, `off` and `state`."""

    @driver_click_group(client)
    def base() -> None:
        """Move a medium between the host and the device."""

    _add_mux(base, client)
    return base


def flasher_commands(client: FlasherClient) -> DriverClickGroup:
    """`flash` and `dump`."""

    @driver_click_group(client)
    def base() -> None:
        """Write and read images."""

    _add_flasher(base, client)
    return base


def mux_flasher_commands(client: StorageMuxFlasherClient) -> DriverClickGroup:
    """`flash`, `dump`, `host`, `dut`, `off` and `state`."""

    @driver_click_group(client)
    def base() -> None:
        """Write and read a medium, and move it between the host and the device."""

    _add_flasher(base, client)
    _add_mux(base, client)
    return base


def _add_mux(base: DriverClickGroup, client: StorageMuxClient) -> None:
    @base.command()
    def host() -> None:
        """Connect the medium to the host."""
        client.host()

    @base.command()
    def dut() -> None:
        """Connect the medium to the device."""
        client.dut()

    @base.command()
    def off() -> None:
        """Connect the medium to nothing."""
        client.off()

    @base.command()
    def state() -> None:
        """Tell where the medium is."""
        click.echo(client.state())


def _add_flasher(base: DriverClickGroup, client: Any) -> None:
    @base.command()
    @click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    def flash(file: Path) -> None:
        """Write FILE to the medium, check it, and connect the medium to the device."""
        _tell("wrote", client.flash(file))

    @base.command()
    @click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
    def dump(file: Path) -> None:
        """Read the medium into FILE."""
        _tell("read", client.dump(file))


def _tell(what: str, result: TransferResult | None) -> None:
    if result is None:
        click.echo(what)
    else:
        click.echo(f"{what} {result.bytes} bytes, sha256 {result.sha256}")
