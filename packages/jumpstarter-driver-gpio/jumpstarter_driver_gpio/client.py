"""The clients of digital inputs and outputs."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jumpstarter.client import DriverClient
from jumpstarter_driver_power.client import PowerClient

from .edges import PinState

if TYPE_CHECKING:
    import click

    from .edges import Edge


def _state(value: Any) -> PinState:
    return PinState.ACTIVE if value else PinState.INACTIVE


@dataclass(kw_only=True)
class DigitalOutputClient(PowerClient):
    """A line that is driven."""

    typed_results = True

    def pulse(self, width: float) -> float:
        """Make the line active for `width` seconds; the exporter times it. Returns how long it was, in seconds."""
        return self.call("pulse", width)

    def restore(self) -> None:
        """Bring the line to its initial level."""
        self.call("restore")

    def read(self) -> PinState:  # pyright: ignore[reportIncompatibleMethodOverride] of the public release
        """The level of the line; reading never changes it."""
        return _state(self.call("read_pin"))

    def cli(self) -> "click.Group":
        """The commands `on`, `off`, `cycle`, `pulse`, `restore` and `read`."""
        from .cli import output_commands

        return output_commands(self)


@dataclass(kw_only=True)
class DigitalInputClient(DriverClient):
    """A line that is read."""

    typed_results = True

    def read(self) -> PinState:
        """The level of the line."""
        return _state(self.call("read_pin"))

    def wait_for_active(self, timeout: float | None = None) -> None:
        """Wait until the line is active; raises DriverError, which is a TimeoutError, after `timeout` seconds."""
        self.call("wait_for_active", timeout)

    def wait_for_inactive(self, timeout: float | None = None) -> None:
        """Wait until the line is inactive; raises DriverError, which is a TimeoutError, after `timeout` seconds."""
        self.call("wait_for_inactive", timeout)

    def wait_for_edge(self, edge_type: str, timeout: float | None = None) -> "Edge":
        """Wait for a rising or falling edge, and return it; raises as `wait_for_active` does."""
        return self.call("wait_for_edge", edge_type, timeout)

    def edges(self) -> "Generator[Edge]":
        """The edges from now on, with the kernel's times, until the generator is closed."""
        return self.streamingcall("edges")

    def cli(self) -> "click.Group":
        """The commands `read`, `edges`, `wait-for-active`, `wait-for-inactive` and `wait-for-edge`."""
        from .cli import input_commands

        return input_commands(self)
