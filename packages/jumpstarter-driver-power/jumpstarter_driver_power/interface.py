"""What every power driver offers."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import TYPE_CHECKING, ClassVar

from anyio import CancelScope, from_thread
from jumpstarter.driver import export

if TYPE_CHECKING:
    from .common import PowerReading


class PowerInterface(ABC):
    """The supply of a device. `on` and `off` say what is wanted: on twice is on. It is off between sessions."""

    release_default: ClassVar[str] = "off"

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_power.client.PowerClient"

    @abstractmethod
    def on(self) -> Awaitable[None] | None:
        """Connect the supply."""

    @abstractmethod
    def off(self) -> Awaitable[None] | None:
        """Disconnect the supply."""

    @abstractmethod
    def read(self) -> "Iterable[PowerReading] | AsyncIterable[PowerReading]":
        """Measure, again and again for as long as somebody asks; NotImplementedError where nothing measures."""

    @export
    def cycle(self, wait: float = 2) -> None:
        """Switch off, wait that many seconds, and switch on.

        It runs to its end in the driver's worker, so a client that is lost meanwhile does not leave the device off, and
        no other plain method comes between. The device is switched on even where switching off failed.
        """
        if not 0 <= wait < math.inf:
            raise ValueError(f"wait must be a number of seconds, 0 or more, not {wait}")
        try:
            _finish(self.off)
            time.sleep(wait)
        finally:
            _finish(self.on)


def _finish(method: Callable[[], Awaitable[None] | None]) -> None:
    """Call a plain method here, an async one on the event loop, where nothing interrupts it either."""
    result = method()
    if isawaitable(result):
        from_thread.run(_shielded, result)


async def _shielded(result: Awaitable[None]) -> None:
    with CancelScope(shield=True):
        await result


class VirtualPowerInterface(PowerInterface):
    """The supply of a virtual device, which can be destroyed."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_power.client.VirtualPowerClient"

    @abstractmethod
    def off(self, destroy: bool = False) -> Awaitable[None] | None:
        """Stop the device; `destroy` removes it with all that it kept."""
