"""The commands of the simulated board and of its parts."""

from typing import TYPE_CHECKING, Any, cast

import click
from jumpstarter.client.decorators import driver_click_group
from jumpstarter.client.levels import add_level_commands

from .faults import Fault

if TYPE_CHECKING:
    from .client import ButtonClient, HttpClient, LedClient, VirtualBoardClient

FAULT = click.Choice([str(fault) for fault in Fault])


def board_commands(client: "VirtualBoardClient", base: click.Group) -> click.Group:
    """Add the board's own commands to those of its parts."""

    @base.command()
    def state() -> None:
        """Tell all there is to know about the board."""
        for name, value in sorted(client.state().items()):
            click.echo(f"{name}: {_text(value)}")

    @base.command()
    @click.argument("fault", type=FAULT, metavar="FAULT")
    def inject(fault: str) -> None:
        """Break the board on purpose by a FAULT.

        boot-hang stops the next boot, console-garbage spoils what the console sends, power-drop switches off now and
        in the middle of every boot, medium-absent takes the medium away.
        """
        client.inject(fault)

    @base.command()
    @click.argument("fault", type=FAULT, metavar="FAULT", required=False)
    def clear(fault: str | None) -> None:
        """End a FAULT, or all of them."""
        client.clear(fault)

    @base.command()
    def faults() -> None:
        """List the faults that the board has now."""
        for fault in client.faults():
            click.echo(fault)

    return base


def button_commands(client: "ButtonClient") -> click.Group:
    """`press`, `release` and `read`."""

    @driver_click_group(client)
    def base() -> None:
        """Use the button."""

    @base.command()
    def press() -> None:
        """Press the button, and hold it."""
        client.press()

    @base.command()
    def release() -> None:
        """Release the button."""
        client.release()

    @base.command()
    def read() -> None:
        """Tell whether the button is pressed (active)."""
        click.echo(str(client.read()))

    return base


def led_commands(client: "LedClient") -> click.Group:
    """`read`, `wait-for-active` and `wait-for-inactive`."""

    @driver_click_group(client)
    def base() -> None:
        """Watch the LED."""

    add_level_commands(base, client)
    return base


def http_commands(client: "HttpClient", base: click.Group) -> click.Group:
    """Add `get` to the commands of every network driver."""

    @base.command()
    @click.argument("path", default="/")
    def get(path: str) -> None:
        """Fetch the page at PATH (default: /) and print it."""
        click.echo(client.get(path), nl=False)

    return base


def _text(value: Any) -> str:
    """Return a part of the state for people."""
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{key} {item}" for key, item in cast("dict[str, Any]", value).items())
        case list():
            return ", ".join(map(str, cast("list[Any]", value))) or "none"
        case None:
            return "none"
        case _:
            return str(value)
