"""`j template`."""

from typing import TYPE_CHECKING

import click
from jumpstarter.client.decorators import driver_click_group

if TYPE_CHECKING:
    from .client import TemplateClient


def commands(client: "TemplateClient") -> click.Command:
    @driver_click_group(client)
    def template() -> None:
        """Use a Template."""

    @template.command()
    def identify() -> None:
        """Say who the device is."""
        click.echo(client.identify())

    @template.command()
    def measure() -> None:
        """Measure once."""
        click.echo(client.measure())

    return template
