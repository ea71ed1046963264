"""The commands of every power client."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click
from jumpstarter.client.decorators import DriverClickGroup, driver_click_group

if TYPE_CHECKING:
    from .client import PowerClient, VirtualPowerClient
    from .common import PowerReading

F = TypeVar("F", bound=Callable[..., Any])


def power_commands(client: "PowerClient") -> DriverClickGroup:
    """`on`, `off`, `cycle` and `read` for one client."""

    @driver_click_group(client)
    def base() -> None:
        """Switch and measure the supply."""

    @base.command()
    def on() -> None:
        """Connect the supply."""
        client.on()

    @base.command()
    def off() -> None:
        """Disconnect the supply."""
        client.off()

    @base.command()
    @click.option(
        "-w",
        "--wait",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        default=2.0,
        show_default=True,
        help="Time without power.",
    )
    def cycle(wait: float) -> None:
        """Disconnect the supply and connect it again."""
        client.cycle(wait)

    @base.command()
    @reading_options()
    def read(count: int, interval: float) -> None:
        """Print voltage, current and apparent power, one line per reading."""
        with closing(readings(client, interval)) as measured:
            for reading in islice(measured, count or None):
                click.echo(f"{reading.voltage:.3f} V  {reading.current:.3f} A  {reading.apparent_power:.3f} VA")

    return base


def reading_options(least: float = 0) -> Callable[[F], F]:
    """The options `--count` and `--interval`, which is `least` seconds at least, of a command that measures."""
    count = click.option(
        "-n",
        "--count",
        type=click.IntRange(min=0),
        default=1,
        show_default=True,
        help="Number of readings; 0 goes on until Ctrl-C.",
    )
    interval = click.option(
        "-i",
        "--interval",
        type=click.FloatRange(min=least),
        metavar="SECONDS",
        default=1.0,
        show_default=True,
        help="Time between readings.",
    )
    return lambda function: count(interval(function))


def virtual_power_commands(client: "VirtualPowerClient") -> DriverClickGroup:
    """The same, with `off --destroy`."""
    base = power_commands(client)

    @base.command()
    @click.option("--destroy", is_flag=True, help="Remove the device with all that it kept.")
    def off(destroy: bool) -> None:
        """Stop the device."""
        client.off(destroy)

    return base


def readings(client: "PowerClient", interval: float) -> Generator["PowerReading"]:
    """Readings that are at least `interval` seconds apart, each the newest one at its time.

    Begins to measure again where a driver ends after a few; ends where it has none at all.
    """
    due = 0.0
    while True:
        empty, newest = True, None
        for reading in client.read():
            empty, newest = False, reading
            if time.monotonic() >= due:
                due, newest = time.monotonic() + interval, None
                yield reading
        if empty:
            return
        time.sleep(max(0, due - time.monotonic()))
        if newest is not None:
            due = time.monotonic() + interval
            yield newest
