"""The DUT's supply, switched and measured by the board."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import export, sleep
from jumpstarter_driver_power.interface import PowerInterface

from .config import DutlinkConfig
from .protocol import SHORTEST, Action

if TYPE_CHECKING:
    from .common import DutlinkReading


@dataclass(kw_only=True)
class DutlinkPower(PowerInterface, DutlinkConfig):
    """The DUT's supply.

    The board may have a sequence for `on`, `off` and `rescue`, such as a press of the power button; then the call takes
    as long as that. The board cannot tell whether it is on: `state` concludes that from the voltage.
    """

    read_interval: float = 1.0
    """Seconds between two readings of `read`."""

    last_action: Any = field(default=None, repr=False, compare=False)
    """Of no effect; configurations may have it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.read_interval < SHORTEST:
            raise ConfigurationError(f"read_interval must be {SHORTEST:g} seconds or more, not {self.read_interval}")

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_dutlink.client.DutlinkPowerClient"

    @export
    def on(self) -> None:
        """Switch on, by the board's sequence for that if it has one."""
        self._switch("on")

    @export(urgent=True)
    def off(self) -> None:
        """Switch off, by the board's sequence for that if it has one and the DUT has power."""
        board = self.board()
        with board.link.lock:
            # a sequence presses a button, which would only cost its time where there is no power to switch off
            is_futile = board.sequence("off", self.timeout_s) and not board.is_powered(self.timeout_s)
            self._switch("force-off" if is_futile else "off")

    @export
    def force_on(self) -> None:
        """Connect the supply, without any sequence."""
        self._switch("force-on")

    @export(urgent=True)
    def force_off(self) -> None:
        """Disconnect the supply, without any sequence."""
        self._switch("force-off")

    @export
    def rescue(self) -> None:
        """Switch on by the board's sequence for rescue, such as with the button for recovery pressed."""
        self._switch("rescue")

    @export(read_only=True)
    def state(self) -> str:
        """`on` or `off`, concluded from the voltage at the DUT, which follows a change within 2 seconds."""
        return "on" if self.board().is_powered(self.timeout_s) else "off"

    @export(concurrent=True, read_only=True)
    def read(self) -> Generator[DutlinkReading]:
        """Measure every `read_interval` seconds, for as long as somebody asks."""
        yield from self.measure(self.read_interval)

    @export(concurrent=True, read_only=True)
    def measure(self, interval: float = 1.0) -> Generator[DutlinkReading]:
        """Measure at another rate, every `interval` seconds; each reading is the mean of 2 seconds."""
        from .common import DutlinkReading

        if interval < SHORTEST:
            raise ValueError(f"interval must be {SHORTEST:g} seconds or more, not {interval}")
        while True:
            reading = self.board().reading(self.timeout_s)
            yield DutlinkReading(
                voltage=reading.voltage, current=reading.current, power=reading.power, time=datetime.now(UTC)
            )
            sleep(interval)

    def _switch(self, action: Action) -> None:
        self.board().power(action, self.timeout_s)
        self.logger.info("power %s", action)
