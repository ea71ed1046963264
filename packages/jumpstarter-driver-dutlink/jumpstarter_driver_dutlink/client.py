"""The client of the DUT's supply."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jumpstarter_driver_power.client import PowerClient

if TYPE_CHECKING:
    import click

    from .common import DutlinkReading


@dataclass(kw_only=True)
class DutlinkPowerClient(PowerClient):
    """The supply of a device at a DUTLink."""

    typed_results = True

    def force_on(self) -> None:
        """Connect the supply, without any sequence of the board."""
        self.call("force_on")

    def force_off(self) -> None:
        """Disconnect the supply, without any sequence of the board."""
        self.call("force_off")

    def state(self) -> str:
        """`on` or `off`, concluded from the voltage at the DUT, which follows a change within 2 seconds."""
        return self.call("state")

    def measure(self, interval: float = 1.0) -> Generator["DutlinkReading"]:
        """Measure every `interval` seconds until the generator is closed: volts, amperes, watts and the time."""
        from .common import DutlinkReading  # pydantic is slow to import, and most commands do not measure

        for reading in self.streamingcall("measure", interval):
            yield DutlinkReading.model_validate(reading)

    def cli(self) -> "click.Group":
        """Those of every supply, with `force-on`, `force-off`, `rescue`, `state` and watts in `read`."""
        from .cli import dutlink_power_commands

        return dutlink_power_commands(self)
