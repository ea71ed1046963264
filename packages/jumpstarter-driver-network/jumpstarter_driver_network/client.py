"""The client of every network driver."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jumpstarter.client import DriverClient

if TYPE_CHECKING:
    import click


@dataclass(kw_only=True)
class NetworkClient(DriverClient):
    """A service behind the exporter; the adapters of this package connect to it."""

    def address(self) -> str:
        """The service's own address as a URL, for use without the exporter."""
        return self.call("address")

    def cli(self) -> "click.Group":
        """The commands `forward-tcp`, `forward-unix` and `address`."""
        from .cli import network_commands

        return network_commands(self)
