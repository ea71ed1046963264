"""The commands of digital inputs and outputs."""

from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import click
from jumpstarter.client.decorators import DriverClickGroup, driver_click_group
from jumpstarter.client.levels import add_level_commands, timeout_option
from jumpstarter_driver_power.cli import power_commands

if TYPE_CHECKING:
    from .client import DigitalInputClient, DigitalOutputClient


def output_commands(client: "DigitalOutputClient") -> DriverClickGroup:
    """Those of a supply, `pulse` and `restore`; `read` tells the level."""
    base = power_commands(client)
    base.help = client.description or "Drive a line."

    @base.command()
    def on() -> None:
        """Make the line active."""
        client.on()

    @base.command()
    def off() -> None:
        """Make the line inactive."""
        client.off()

    @base.command()
    @click.argument("width", type=click.FloatRange(min=0, min_open=True, max=3600), metavar="SECONDS")
    def pulse(width: float) -> None:
        """Make the line active for SECONDS, and print how long it really was."""
        click.echo(f"{client.pulse(width):.6f} s")

    @base.command()
    def restore() -> None:
        """Bring the line to its initial level."""
        client.restore()

    @base.command()
    def read() -> None:
        """Tell the level of the line."""
        click.echo(str(client.read()))

    return base


def input_commands(client: "DigitalInputClient") -> DriverClickGroup:
    """Reading and waiting."""

    @driver_click_group(client)
    def base() -> None:
        """Watch a line."""

    add_level_commands(base, client)

    @base.command()
    @click.argument("edge", type=click.Choice(["rising", "falling"]))
    @timeout_option
    def wait_for_edge(edge: str, timeout: float) -> None:
        """Wait for the next EDGE of the line."""
        client.wait_for_edge(edge, timeout)

    @base.command()
    @click.option("-n", "--count", type=click.IntRange(min=0), default=0, help="End after so many (default: Ctrl-C).")
    def edges(count: int) -> None:
        """Print the edges from now on: time in seconds, number, edge, and how many were lost before it."""
        with closing(client.edges()) as found:
            for edge in islice(found, count or None):
                lost = f"  {edge.missed} lost before it" if edge.missed else ""
                click.echo(f"{edge.timestamp_ns / 1e9:.9f}  {edge.seqno}  {edge.edge}{lost}")

    return base
