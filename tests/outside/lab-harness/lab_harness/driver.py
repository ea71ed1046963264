"""The drivers of the harness, which run on the exporter."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Annotated

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export
from jumpstarter_driver_composite.driver import CompositeInterface
from jumpstarter_driver_network.driver import TcpNetwork
from jumpstarter_driver_power.driver import PowerInterface, PowerReading
from jumpstarter_driver_virtual.driver import BoardPower, VirtualBoard
from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass


class MyTunnel(TcpNetwork):
    """A port on the bench; its label says which."""

    def extra_labels(self) -> dict[str, str]:
        return {"lab.example.com/port": str(self.port)}


@dataclass(kw_only=True)
class MyPower(PowerInterface, Driver):
    """A supply behind a contactor, whose switching operations are counted."""

    supply: BoardPower
    limit: int = 1000
    """Operations that the contactor is good for."""

    operations: int = field(default=0, init=False)

    @export
    def on(self) -> None:
        self._count()
        self.supply.on()

    @export
    def off(self) -> None:
        self._count()
        self.supply.off()

    @export
    async def read(self) -> AsyncGenerator[PowerReading]:
        async for reading in self.supply.read():
            yield reading

    @export
    def wear(self) -> dict[str, int]:
        """Operations done, and left."""
        return {"done": self.operations, "left": self.limit - self.operations}

    def _count(self) -> None:
        if self.operations == self.limit:
            raise OSError(f"contactor: worn out after {self.limit} operations; replace it")
        self.operations += 1


@pydantic_dataclass(kw_only=True)
class MyDebugger(CompositeInterface, Driver):
    """A debug probe with a console beside it."""

    speed_khz: Annotated[int, Field(gt=0, le=50_000)] = 1000
    halted: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if "console" not in self.children:
            raise ConfigurationError("a debugger needs a child 'console'")

    @classmethod
    def client(cls) -> str:
        return "lab_harness.client.MyDebuggerClient"

    @export
    async def halt(self, at: int | None = None) -> str:
        """Stop the core, at an address if one is given."""
        self.halted = True
        return f"halted at 0x{0x80000000 if at is None else at:08x}, {self.speed_khz} kHz"

    @export
    def resume(self) -> None:
        """Let the core run."""
        if not self.halted:
            raise ValueError("the core is running")
        self.halted = False

    def reset(self) -> None:
        self.halted = False
        super().reset()


@dataclass(kw_only=True)
class MyHarness(CompositeInterface, Driver):
    """Everything that is wired to one board."""

    port: int
    """Port on the bench that the tunnel leads to."""

    boot_seconds: float = 1.0
    speed_khz: int = 4000

    _board: VirtualBoard = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._board = VirtualBoard(boot_seconds=self.boot_seconds, autoboot_seconds=0.1)
        parts = self._board.children
        supply = parts["power"]
        assert isinstance(supply, BoardPower)
        self.children |= {
            "tunnel": MyTunnel(host="127.0.0.1", port=self.port),
            "power": MyPower(supply=supply, description="Switch the contactor"),
            "sd": parts["storage"],
            "reset": parts["button"],
            "debugger": MyDebugger(
                speed_khz=self.speed_khz,
                description="Debug the board",
                children={"console": parts["console"]},
            ),
        }

    @export
    def stage(self) -> str:
        """How far the board has come."""
        return str(self._board.state()["stage"])

    def reset(self) -> None:
        self._board.reset()
        super().reset()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._board.close()
