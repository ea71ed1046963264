"""A supply; a standard dataclass on top of the core's, and an undecorated subclass of it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from jumpstarter.driver import Driver, export
from jumpstarter_driver_power.driver import PowerInterface, PowerReading


@dataclass(kw_only=True)
class BenchSupply(PowerInterface, Driver):
    channel: int = 1
    limit: float = 2.5
    log: list[str] = field(default_factory=list)

    def __post_init__(self):
        if hasattr(super(), "__post_init__"):
            super().__post_init__()
        if self.channel not in (1, 2):
            raise ValueError(f"no channel {self.channel}")
        self.is_on = False

    @export
    async def on(self) -> None:
        self.is_on = True
        self.logger.info("channel %d on", self.channel)

    @export
    async def off(self) -> None:
        self.is_on = False
        self.logger.info("channel %d off", self.channel)

    @export
    async def read(self) -> AsyncGenerator[PowerReading, None]:
        for _ in range(3):
            yield PowerReading(voltage=12.0 if self.is_on else 0.0, current=self.limit)

    @export
    def set_limit(self, amperes):
        self.limit = float(amperes)
        return self.limit

    def close(self):
        self.is_on = False
        super().close()


class QuietSupply(BenchSupply):
    """No decorator; one method more, one that is no longer exported."""

    @export
    def status(self):
        return {"on": self.is_on, "channel": self.channel, "limit": self.limit}

    def set_limit(self, amperes):
        return 0.0
