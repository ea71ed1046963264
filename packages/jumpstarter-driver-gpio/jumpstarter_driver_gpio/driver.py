"""Digital inputs and outputs of a Linux host, and supplies that are switched by one."""

import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from jumpstarter.common.exceptions import ConfigurationError, DeviceAbsentError
from jumpstarter.driver import Driver, check_cancelled, export, is_cancelled, sleep
from jumpstarter.driver.handback import wanted
from jumpstarter_driver_power.interface import PowerInterface

from .chips import Line, Setup
from .edges import Edge
from .lines import Lines

if TYPE_CHECKING:
    from jumpstarter_driver_power.common import PowerReading

DRIVES = ("push_pull", "open_drain", "open_source")
BIASES = ("as_is", "pull_up", "pull_down", "disabled")
_ACTIVE, _INACTIVE = ("active", "on", True), ("inactive", "off", False, None)

SLICE = 0.2
"""Seconds after which a wait looks whether somebody still waits for it."""


@dataclass(kw_only=True)
class _Gpio(Driver):
    device: str = "/dev/gpiochip0"
    """The chip: its path, name (gpiochip0) or label (pinctrl-rp1). Labels stay when the kernel numbers anew."""

    drive: str | None = None
    """push_pull, open_drain or open_source."""

    active_low: bool = False
    """Whether the low level is the active one."""

    bias: str | None = None
    """as_is, pull_up, pull_down or disabled."""

    _lines: Lines = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, known in (("drive", self.drive, DRIVES), ("bias", self.bias, BIASES)):
            if value is not None and value not in known:
                raise ConfigurationError(f"{name} must be {', '.join(known)}, not {value!r}")

    def identity(self) -> str | None:
        """Nothing: the kernel itself gives a line to one user only."""
        return None

    def reset(self) -> None:
        """Request the lines."""
        super().reset()
        self._lines.open()

    def close(self) -> None:
        """Release the lines."""
        self._lines.close()
        super().close()


class _Waiting:
    """Waiting for levels and edges of inputs."""

    _lines: Lines

    @export(concurrent=True)
    def edges(self) -> Generator[Edge]:
        """The edges from now on, as they come, with the kernel's times; `missed` tells of those that were lost."""
        lines = self._lines
        lines.open()
        place = lines.edges.count
        while True:
            place = yield from self._edges_since(place)
            lines.edges.changes.wait_for(lambda at=place: lines.edges.count > at or lines.edges.failure, SLICE)
            check_cancelled()
            if lines.edges.count == place and lines.edges.failure is not None:
                raise DeviceAbsentError(f"{lines.where}: {lines.edges.failure}", "connect it again")

    def _edges_since(self, place: int) -> Generator[Edge, None, int]:
        found, lost = self._lines.edges.since(place)
        for number, edge in enumerate(found):
            if number == 0 and lost:
                edge = replace(edge, missed=edge.missed + lost)
            yield edge
        return place + lost + len(found)

    def _wait(self, what: str, is_so: Any, timeout: float | None) -> None:
        """Wait until something is so, which only an edge can change; asked now, and after every edge."""
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout must be 0 or more seconds, not {timeout:g}")
        edges, deadline = self._lines.edges, None if timeout is None else time.monotonic() + timeout
        while True:
            place = edges.count
            if is_so():
                return
            left = SLICE if deadline is None else min(SLICE, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"{self._lines.where}: {what} within {timeout:g} s")
            edges.changes.wait_for(lambda at=place: edges.count > at or edges.failure, left)
            if is_cancelled():
                check_cancelled()
            if edges.count == place and edges.failure is not None:
                raise DeviceAbsentError(f"{self._lines.where}: {edges.failure}", "connect it again")


@dataclass(kw_only=True)
class DigitalInput(_Waiting, _Gpio):
    """One line that is read, and whose edges are seen."""

    line: Line
    """Offset on the chip, or name."""

    debounce: float = 0.0
    """Seconds for which a level has to be stable before it counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.debounce < 4000:
            raise ConfigurationError(f"debounce must be 0 to 4000 seconds, not {self.debounce:g}")
        setup = Setup(active_low=self.active_low, drive=self.drive, bias=self.bias, debounce=self.debounce, edges=True)
        self._lines = Lines(self.device, [self.line], setup, [False])

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_gpio.client.DigitalInputClient"

    @export(concurrent=True, read_only=True)
    def read_pin(self) -> int:
        """1 while the line is active, otherwise 0."""
        return int(self._lines.read()[0])

    @export(concurrent=True)
    def wait_for_active(self, timeout: float | None = None) -> None:
        """Wait until the line is active; TimeoutError after `timeout` seconds, None waits for ever."""
        self._wait("not active", lambda: self._lines.read()[0], timeout)

    @export(concurrent=True)
    def wait_for_inactive(self, timeout: float | None = None) -> None:
        """Wait until the line is inactive; TimeoutError after `timeout` seconds, None waits for ever."""
        self._wait("not inactive", lambda: not self._lines.read()[0], timeout)

    @export(concurrent=True)
    def wait_for_edge(self, edge_type: str, timeout: float | None = None) -> Edge:
        """Wait for the next edge, rising or falling, and return it; TimeoutError after `timeout` seconds."""
        if edge_type not in ("rising", "falling"):
            raise ValueError(f"an edge is rising or falling, not {edge_type!r}")
        self._lines.open()
        place = self._lines.edges.count
        found: list[Edge] = []

        def came() -> bool:
            edges, _ = self._lines.edges.since(place)
            found.extend(edge for edge in edges if edge.edge == edge_type)
            return bool(found)

        self._wait(f"no {edge_type} edge", came, timeout)
        return found[0]


@dataclass(kw_only=True)
class DigitalOutput(_Gpio):
    """One line that is driven. It has its initial level from the moment it is requested, and again between sessions."""

    release_default: ClassVar[str] = "restore"

    line: Line
    """Offset on the chip, or name."""

    initial_value: str | bool | None = "inactive"
    """active or inactive (on, off, true, false): the level from the exporter's start on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._initial = _level("initial_value", self.initial_value)
        setup = Setup(output=True, active_low=self.active_low, drive=self.drive, bias=self.bias)
        self._lines = Lines(self.device, [self.line], setup, [self._initial])

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_gpio.client.DigitalOutputClient"

    def reset(self) -> None:
        """Request the line, with its initial level."""
        was_open = self._lines.is_open
        super().reset()
        if was_open:
            self._lines.write([self._initial])

    def close(self) -> None:
        """Set the level that the line has between sessions, and release it; the chip may let it go anywhere then."""
        if (
            self._lines.is_open
            and (end := {"on": True, "off": False, "restore": self._initial}.get(wanted(self))) is not None
        ):
            self._lines.write([end])
        super().close()

    @export
    def on(self) -> None:
        """Make the line active."""
        self._set(True)

    @export(urgent=True)
    def off(self) -> None:
        """Make the line inactive."""
        self._set(False)

    @export
    def restore(self) -> None:
        """Bring the line to its initial level."""
        self._set(self._initial)

    @export
    def pulse(self, width: float) -> float:
        """Make the line active for `width` seconds and then inactive; returns how long it was, in seconds.

        It is timed here, next to the line, and ends also where the client is lost.
        """
        if not 0 < width <= 3600:
            raise ValueError(f"a pulse lasts more than 0 and at most 3600 seconds, not {width:g}")
        real = self._lines.pulse(True, width, sleep)
        self.logger.info("pulse of %.6f s", real)
        return real

    @export(concurrent=True, read_only=True)
    def read_pin(self) -> int:
        """1 while the line is active, otherwise 0: the level of the pin, where the chip can tell."""
        return int(self._lines.read()[0])

    def _set(self, active: bool) -> None:
        self._lines.write([active])
        self.logger.info("line %s %s", self.line, "active" if active else "inactive")


@dataclass(kw_only=True)
class PowerSwitch(PowerInterface, DigitalOutput):
    """A supply that a line switches."""

    mode: str = "push_pull"
    """The drive, by another name that configurations have; `drive` comes first."""

    def __post_init__(self) -> None:
        self.drive = self.drive or (None if self.mode == "push_pull" else self.mode)
        super().__post_init__()

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_power.client.PowerClient"

    @export
    def on(self) -> None:
        """Connect the supply."""
        self._set(True)

    @export(urgent=True)
    def off(self) -> None:
        """Disconnect the supply."""
        self._set(False)

    @export
    def read(self) -> "Iterable[PowerReading]":
        """Nothing: NotImplementedError."""
        raise NotImplementedError("a line cannot measure; add a meter as a sibling")
        yield  # keeps it a streamed call


@dataclass(kw_only=True)
class DigitalPort(_Waiting, _Gpio):
    """Several lines of one chip that are read, or set, at the same moment."""

    release_default: ClassVar[str] = "restore"

    lines: list[Line]
    """Offsets on the chip, or names; at most 64."""

    output: bool = False
    """Whether they are driven."""

    initial_values: list[bool] | None = None
    """Of outputs: the levels from the exporter's start on; None: all inactive."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.lines) <= 64:
            raise ConfigurationError(f"lines must be 1 to 64 lines, not {len(self.lines)}")
        self._initial = self.initial_values or [False] * len(self.lines)
        if len(self._initial) != len(self.lines):
            raise ConfigurationError(f"initial_values must be {len(self.lines)} levels, one for each line")
        setup = Setup(
            output=self.output, active_low=self.active_low, drive=self.drive, bias=self.bias, edges=not self.output
        )
        self._lines = Lines(self.device, self.lines, setup, self._initial)

    def close(self) -> None:
        """Bring outputs to their initial levels, and release them."""
        if self._lines.is_open and self.output and wanted(self) == "restore":
            self._lines.write(self._initial)
        super().close()

    @export(concurrent=True, read_only=True)
    def read(self) -> list[int]:
        """The levels of all lines, at one moment, in their order: 1 for active."""
        return [int(level) for level in self._lines.read()]

    @export
    def write(self, values: list[int]) -> None:
        """Set all lines at one moment, in their order: 1 for active."""
        if not self.output:
            raise ValueError("these lines are inputs; output: true makes them outputs")
        if len(values) != len(self.lines) or not set(values) <= {0, 1}:
            raise ValueError(f"the levels must be {len(self.lines)} times 0 or 1, not {values}")
        self._lines.write([bool(value) for value in values])
        self.logger.info("lines %s", "".join(map(str, values)))

    @export
    def restore(self) -> None:
        """Bring outputs to their initial levels; nothing for inputs."""
        if self.output:
            self._lines.write(self._initial)


def _level(name: str, value: object) -> bool:
    if value in _ACTIVE:
        return True
    if value in _INACTIVE:
        return False
    raise ConfigurationError(f"{name} must be active or inactive, not {value!r}")
