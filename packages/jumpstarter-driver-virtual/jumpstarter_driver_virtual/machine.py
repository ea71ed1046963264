"""The simulated board as its software sees it, and the processor that runs the software.

Software is a generator: it runs until it waits, which it does by yielding a `Wait`. Only the thread of the board
touches any of this, so nothing needs a lock.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TypeAlias

from .faults import Fault
from .medium import Image, Medium
from .supply import FIRMWARE_AMPERE, HALTED_AMPERE, IDLE_AMPERE, LED_AMPERE, LOAD_AMPERE, boot_ampere
from .uart import Uart


class Stage(StrEnum):
    """How far the board has come."""

    OFF = "off"
    FIRMWARE = "firmware"
    PROMPT = "prompt"
    BOOTING = "booting"
    HUNG = "hung"
    BOOTED = "booted"
    HALTED = "halted"


@dataclass(frozen=True)
class Wait:
    """What software waits for: a time, a key, or whichever comes first."""

    seconds: float | None = None
    key: bool = False


Program: TypeAlias = Generator[Wait, None, None]


class PowerLost(Exception):
    """The supply trips under the running software."""


@dataclass
class Machine:
    """Registers and pins."""

    uart: Uart
    medium: Medium
    seed: int
    boot_seconds: float
    autoboot_seconds: float
    faults: set[Fault]
    changed: Callable[[], None]
    """Called when the stage or the LED has changed."""

    clock: Callable[[], float] = time.monotonic
    stage: Stage = Stage.OFF
    led: bool = False
    button: bool = False
    image: Image | None = None
    """What was booted; None until the firmware has read it."""

    started: float = 0.0
    """When the system (not the firmware) started."""

    busy_until: float = 0.0
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def enter(self, stage: Stage) -> None:
        """Go on to the next stage."""
        self.stage = stage
        self.changed()

    def set_led(self, on: bool) -> None:
        """Drive the LED."""
        self.led = on
        self.changed()

    @property
    def uptime(self) -> float:
        """Seconds since the system started; 0 while none runs."""
        return self.clock() - self.started if self.stage in (Stage.BOOTING, Stage.HUNG, Stage.BOOTED) else 0.0

    def kernel_says(self, message: str) -> None:
        """Print a line of the running system, stamped with the time; nothing when no system runs."""
        if self.stage == Stage.BOOTED:
            self.uart.send(f"\n{stamp(self.uptime)} {message}\n")

    def ampere(self) -> float:
        """What the board draws now, without the inrush."""
        match self.stage:
            case Stage.OFF:
                return 0.0
            case Stage.HALTED:
                return HALTED_AMPERE
            case Stage.FIRMWARE | Stage.PROMPT:
                return FIRMWARE_AMPERE
            case Stage.BOOTING | Stage.HUNG:
                return boot_ampere(min(1.0, self.uptime / self.boot_seconds) if self.boot_seconds else 1.0)
            case Stage.BOOTED:
                load = LOAD_AMPERE if self.clock() < self.busy_until else IDLE_AMPERE
                return load + LED_AMPERE * self.led


def stamp(seconds: float) -> str:
    """Return a time as the start of a line of the log."""
    return f"[{seconds:12.6f}]"


class Processor:
    """Runs a program, one wait at a time."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._program: Program | None = None
        self._wait = Wait(0)
        self._until: float | None = None

    def start(self, program: Program) -> None:
        """Begin with the first line of `program`."""
        self.stop()
        self._program = program
        self._wait, self._until = Wait(0), 0.0

    def stop(self) -> None:
        """Forget the program."""
        if self._program is not None:
            self._program.close()
            self._program = None

    @property
    def sleep_seconds(self) -> float | None:
        """How long there is nothing to do, if nothing happens; None for ever."""
        if self._program is None:
            return None
        if self._wait.key and self._machine.uart.received:
            return 0.0
        return None if self._until is None else max(0.0, self._until - self._machine.clock())

    def run(self) -> None:
        """Run up to the next wait, if the last one is over."""
        if self._program is None or self.sleep_seconds != 0.0:
            return
        try:
            self._wait = next(self._program)
        except StopIteration:
            self._program = None
        else:
            seconds = self._wait.seconds
            self._until = None if seconds is None else self._machine.clock() + seconds
