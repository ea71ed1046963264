"""The driver of the simulated board: everything that a real board on a bench has, without one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export
from jumpstarter_driver_composite.driver import CompositeInterface

from .emulator import Board, Fault
from .parts import BoardButton, BoardConsole, BoardLed, BoardPage, BoardPower, BoardStorage

__all__ = [
    "BoardButton",
    "BoardConsole",
    "BoardLed",
    "BoardPage",
    "BoardPower",
    "BoardStorage",
    "Fault",
    "VirtualBoard",
]


@dataclass(kw_only=True)
class VirtualBoard(CompositeInterface, Driver):
    """A simulated board with power, console, storage, button, led and http, in pure Python."""

    boot_seconds: float = 1.0
    """Seconds from power-on to the login prompt, without the wait for a key."""

    autoboot_seconds: float = 0.5
    """Seconds that the firmware waits for a key before it starts the system."""

    medium: str | None = None
    """File that stands for the storage medium; flashing overwrites it. None: a temporary one with a factory image."""

    faults: list[str] = field(default_factory=list[str])
    """Faults that the board has from the start: boot-hang, console-garbage, power-drop, medium-absent."""

    seed: int = 0
    """Number from which the noise of readings, times and garbage follows."""

    read_interval: float = 0.1
    """Seconds between two power readings."""

    board: Board = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self.board = Board(
                boot_seconds=self.boot_seconds,
                autoboot_seconds=self.autoboot_seconds,
                medium=self.medium,
                faults=self.faults,
                seed=self.seed,
            )
        except ValueError as e:
            raise ConfigurationError(str(e)) from e
        if self.read_interval <= 0:
            raise ConfigurationError("read_interval must be more than 0 seconds")
        self.description = self.description or "Simulated board (no hardware)"
        self._add("power", BoardPower, "Switch and measure the simulated supply", interval=self.read_interval)
        self._add("console", BoardConsole, "Use the simulated serial console")
        self._add("storage", BoardStorage, "Flash the simulated boot medium and move it", key=self.identity())
        self._add("button", BoardButton, "Press the simulated button")
        self._add("led", BoardLed, "Watch the simulated LED")
        self._add("http", BoardPage, "Reach the simulated board's web page")

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_virtual.client.VirtualBoardClient"

    @export
    def state(self) -> dict[str, Any]:
        """What there is to know about the board: stage, image, medium, led, button, faults."""
        return self.board.state()

    @export
    def inject(self, fault: str) -> None:
        """Break the board on purpose; a power drop strikes at once, the others where they apply next."""
        self.board.inject(fault)
        self.logger.info("fault %s set", fault)

    @export
    def clear(self, fault: str | None = None) -> None:
        """End a fault, or all of them."""
        self.board.clear(fault)
        self.logger.info("fault %s cleared", fault or "of any kind")

    @export
    def active_faults(self) -> list[str]:
        """The faults that the board has now."""
        return [str(fault) for fault in self.board.faults()]

    def identity(self) -> str | None:
        """The file that stands for the medium: two boards cannot share it."""
        return None if self.medium is None else str(Path(self.medium).expanduser().absolute())

    def reset(self) -> None:
        """Back to the start: power off, medium at the board, button released, faults as configured."""
        self.board.reset()
        super().reset()

    def close(self) -> None:
        """Switch off, and end the simulation."""
        try:
            super().close()
        finally:
            self.board.close()

    def _add(self, name: str, part: Callable[..., Driver], description: str, **config: object) -> None:
        if name in self.children:
            raise ConfigurationError(f"the name {name!r} is taken by a part of the board; choose another")
        self.children[name] = part(board=self.board, description=description, log_level=self.log_level, **config)
