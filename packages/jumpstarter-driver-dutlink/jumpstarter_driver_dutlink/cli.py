"""The commands of the DUT's supply."""

from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import click
from jumpstarter.client.decorators import DriverClickGroup
from jumpstarter_driver_power.cli import power_commands, reading_options

from .protocol import SHORTEST

if TYPE_CHECKING:
    from .client import DutlinkPowerClient


def dutlink_power_commands(client: "DutlinkPowerClient") -> DriverClickGroup:
    """Those of every supply, and what only this one has."""
    base = power_commands(client)

    @base.command()
    def force_on() -> None:
        """Connect the supply, without any sequence of the board."""
        client.force_on()

    @base.command()
    def force_off() -> None:
        """Disconnect the supply, without any sequence of the board."""
        client.force_off()

    @base.command()
    def rescue() -> None:
        """Switch on by the board's sequence for rescue."""
        client.rescue()

    @base.command()
    def state() -> None:
        """Print on or off, as the voltage at the DUT says."""
        click.echo(client.state())

    @base.command()
    @reading_options(least=SHORTEST)
    @click.option("--time", "with_time", is_flag=True, help="Begin each line with when it was measured.")
    def read(count: int, interval: float, with_time: bool) -> None:
        """Print voltage, current and power, one line per reading."""
        with closing(client.measure(interval)) as readings:
            for reading in islice(readings, count or None):
                when = f"{reading.time.isoformat(timespec='milliseconds')}  " if with_time else ""
                click.echo(f"{when}{reading.voltage:.2f} V  {reading.current:.2f} A  {reading.power:.2f} W")

    return base
