"""Power drivers without hardware, and the interface of all others."""

from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio import to_thread
from jumpstarter.driver import Driver, export

from .interface import PowerInterface, VirtualPowerInterface

if TYPE_CHECKING:
    from .common import PowerReading

__all__ = ["MockPower", "PowerInterface", "PowerReading", "SyncMockPower", "VirtualPowerInterface"]


@dataclass(kw_only=True)
class MockPower(PowerInterface, Driver):
    """A supply that only remembers what it was told; asynchronous."""

    is_on: bool | None = field(default=None, init=False)
    """What it was told last, for tests; None before that."""

    @export
    async def on(self) -> None:
        self._switch(True)

    @export
    async def off(self) -> None:
        self._switch(False)

    @export
    async def read(self) -> "AsyncGenerator[PowerReading]":
        """Two readings that never change."""
        for reading in await to_thread.run_sync(_readings):  # the first of them imports pydantic
            yield reading

    def _switch(self, on: bool) -> None:
        self.is_on = on
        self.logger.info("power %s", "on" if on else "off")


@dataclass(kw_only=True)
class SyncMockPower(PowerInterface, Driver):
    """A supply that only remembers what it was told; with plain methods."""

    is_on: bool | None = field(default=None, init=False)
    """What it was told last, for tests; None before that."""

    @export
    def on(self) -> None:
        self._switch(True)

    @export
    def off(self) -> None:
        self._switch(False)

    @export
    def read(self) -> "Generator[PowerReading]":
        """Two readings that never change."""
        yield from _readings()

    def _switch(self, on: bool) -> None:
        self.is_on = on
        self.logger.info("power %s", "on" if on else "off")


def _readings() -> "list[PowerReading]":
    from .common import PowerReading

    return [PowerReading(voltage=0.0, current=0.0), PowerReading(voltage=5.0, current=2.0)]


def __getattr__(name: str) -> object:
    if name == "PowerReading":  # its pydantic costs more to import than an exporter without readings
        from .common import PowerReading

        return PowerReading
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
