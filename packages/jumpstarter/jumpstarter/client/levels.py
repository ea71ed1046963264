"""The commands of clients that read a level: of lines, buttons, lights."""

from __future__ import annotations

from typing import Protocol

import click

timeout_option = click.option(
    "-t",
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=3600,
    show_default=True,
    help="Longest time to wait.",
)


class HasLevel(Protocol):
    """What can be read, and waited for."""

    def read(self) -> object:
        """The level, as it is printed."""
        ...

    def wait_for_active(self, timeout: float | None = None) -> None: ...
    def wait_for_inactive(self, timeout: float | None = None) -> None: ...


def add_level_commands(base: click.Group, client: HasLevel) -> None:
    """Add `read`, `wait-for-active` and `wait-for-inactive`."""

    @base.command()
    def read() -> None:
        """Tell the level: active or inactive."""
        click.echo(str(client.read()))

    @base.command()
    @timeout_option
    def wait_for_active(timeout: float) -> None:
        """Wait until the level is active."""
        client.wait_for_active(timeout)

    @base.command()
    @timeout_option
    def wait_for_inactive(timeout: float) -> None:
        """Wait until the level is inactive."""
        client.wait_for_inactive(timeout)
