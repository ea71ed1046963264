"""The client of every power driver."""

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jumpstarter.client import DriverClient
from jumpstarter.client.core import DriverMethodNotImplemented

if TYPE_CHECKING:
    import click

    from .common import PowerReading


@dataclass(kw_only=True)
class PowerClient(DriverClient):
    """The supply of a device."""

    def on(self) -> None:
        """Connect the supply."""
        self.call("on")

    def off(self) -> None:
        """Disconnect the supply."""
        self.call("off")

    def cycle(self, wait: float = 2) -> None:
        """Switch off, wait that many seconds, and switch on; the exporter does it, so it is finished in any case."""
        try:
            self.call("cycle", wait)
        except DriverMethodNotImplemented:  # drivers and exporters of other releases
            self._cycle_from_here(wait)

    def _cycle_from_here(self, wait: float) -> None:
        self.off()
        try:
            time.sleep(wait)
        finally:
            self.on()

    def rescue(self) -> None:
        """Start the device in its rescue mode, where the driver has one."""
        self.call("rescue")

    def read(self) -> Generator["PowerReading"]:
        """Measure, again and again until the generator is closed; some drivers end after a few readings."""
        from .common import PowerReading  # pydantic is slow to import, and most commands do not measure

        for reading in self.streamingcall("read"):
            yield PowerReading.model_validate(reading, strict=True)

    def cli(self) -> "click.Group":
        """The commands `on`, `off`, `cycle` and `read`."""
        from .cli import power_commands

        return power_commands(self)


@dataclass(kw_only=True)
class VirtualPowerClient(PowerClient):
    """The supply of a virtual device, which can be destroyed."""

    def off(self, destroy: bool = False) -> None:
        """Stop the device; `destroy` removes it with all that it kept."""
        self.call("off", destroy)

    def cli(self) -> "click.Group":
        """Those of every power client, with `off --destroy`."""
        from .cli import virtual_power_commands

        return virtual_power_commands(self)
