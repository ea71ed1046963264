"""The client of the Template; needs nothing but the core."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jumpstarter.client import DriverClient

if TYPE_CHECKING:
    import click


@dataclass(kw_only=True)
class TemplateClient(DriverClient):
    """Use a Template."""

    typed_results = True  # calls return what the driver did, not the shape that the public release gives it

    def identify(self) -> str:
        """Manufacturer, model, serial number and firmware, as the device says them."""
        return str(self.call("identify"))

    def measure(self) -> float:
        """What the device measures now."""
        return float(self.call("measure"))

    def cli(self) -> "click.Command":
        from .cli import commands  # only the command line needs click

        return commands(self)
