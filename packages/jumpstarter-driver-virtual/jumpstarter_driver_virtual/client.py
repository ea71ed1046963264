"""The clients of the simulated board and of its parts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jumpstarter.client import DriverClient
from jumpstarter_driver_composite.client import CompositeClient
from jumpstarter_driver_network.client import NetworkClient

from .pins import PinState

if TYPE_CHECKING:
    import click
    from jumpstarter_driver_power.client import PowerClient
    from jumpstarter_driver_serial.client import PySerialClient
    from jumpstarter_driver_storage.client import StorageMuxFlasherClient


@dataclass(kw_only=True)
class VirtualBoardClient(CompositeClient):
    """The simulated board; its parts are power, console, storage, button, led and http."""

    typed_results = True

    if TYPE_CHECKING:  # children, which are attributes

        @property
        def power(self) -> PowerClient: ...
        @property
        def console(self) -> PySerialClient: ...
        @property
        def storage(self) -> StorageMuxFlasherClient: ...
        @property
        def button(self) -> "ButtonClient": ...
        @property
        def led(self) -> "LedClient": ...
        @property
        def http(self) -> "HttpClient": ...

    def state(self) -> dict[str, Any]:
        """What there is to know about the board: stage, image, medium, led, button, faults."""
        return self.call("state")

    def inject(self, fault: str) -> None:
        """Break the board on purpose: boot-hang, console-garbage, power-drop or medium-absent."""
        self.call("inject", fault)

    def clear(self, fault: str | None = None) -> None:
        """End a fault, or all of them."""
        self.call("clear", fault)

    def faults(self) -> list[str]:
        """The faults that the board has now."""
        return self.call("active_faults")

    def cli(self) -> "click.Group":
        """The commands of the parts, and `state`, `inject`, `clear` and `faults`."""
        from .cli import board_commands

        return board_commands(self, super().cli())


@dataclass(kw_only=True)
class ButtonClient(DriverClient):
    """A button that can be pressed from here."""

    typed_results = True

    def press(self) -> None:
        """Press the button, and hold it."""
        self.call("press")

    def release(self) -> None:
        """Release the button."""
        self.call("release")

    def on(self) -> None:
        """Press the button, by the name that digital outputs have for it."""
        self.call("on")

    def off(self) -> None:
        """Release the button, by the name that digital outputs have for it."""
        self.call("off")

    def read(self) -> PinState:
        """Active while the button is pressed."""
        return PinState(int(self.call("read_pin")))

    def cli(self) -> "click.Group":
        """The commands `press`, `release` and `read`."""
        from .cli import button_commands

        return button_commands(self)


@dataclass(kw_only=True)
class LedClient(DriverClient):
    """A LED that can be watched from here."""

    typed_results = True

    def read(self) -> PinState:
        """Active while the LED is lit."""
        return PinState(int(self.call("read_pin")))

    def wait_for_active(self, timeout: float | None = None) -> None:
        """Wait until the LED is lit; raises DriverError, which is a TimeoutError, after `timeout` seconds."""
        self.call("wait_for_active", timeout)

    def wait_for_inactive(self, timeout: float | None = None) -> None:
        """Wait until the LED is dark; raises DriverError, which is a TimeoutError, after `timeout` seconds."""
        self.call("wait_for_inactive", timeout)

    def cli(self) -> "click.Group":
        """The commands `read`, `wait-for-active` and `wait-for-inactive`."""
        from .cli import led_commands

        return led_commands(self)


@dataclass(kw_only=True)
class HttpClient(NetworkClient):
    """The board's web server. Ports are forwarded as for every network driver."""

    typed_results = True

    def get(self, path: str = "/") -> str:
        """Fetch a page; raises OSError for any other answer than 200."""
        from .fetch import fetch

        with self.stream() as stream:
            return fetch(stream, path)

    def cli(self) -> "click.Group":
        """The commands of network drivers, and `get`."""
        from .cli import http_commands

        return http_commands(self, super().cli())
