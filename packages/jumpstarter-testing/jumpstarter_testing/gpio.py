"""GPIO chips that exist in this process only: the few calls of gpiod 2 that a driver makes, with the kernel's rules.

A line has one user, edges have sequence numbers and are dropped, oldest first, where nobody reads them; a chip can go
away. Behaviour as in the kernel's documentation of the GPIO character device, and in gpiod's.
"""

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest


@dataclass
class _Line:
    name: str = ""
    pull: bool = False
    driven: bool | None = None
    consumer: str = ""

    @property
    def level(self) -> bool:
        """Physical: what drives it, or what pulls it."""
        return self.pull if self.driven is None else self.driven


@dataclass(frozen=True)
class _ChipInfo:
    name: str
    label: str
    num_lines: int


@dataclass(frozen=True)
class _LineInfo:
    name: str | None
    used: bool
    consumer: str


class FakeGpioChip:
    """A chip at `path`, there while the context lasts; `gpiod.Chip` finds it meanwhile."""

    def __init__(
        self, path: Path, *, label: str = "fake", lines: int = 8, names: Mapping[int, str] | None = None
    ) -> None:
        self.path = str(path)
        self.label = label
        self.unsupported: set[str] = set()
        """Settings that this chip cannot do, such as "bias"."""
        self._lines = [_Line((names or {}).get(offset, "")) for offset in range(lines)]
        self._requests: list[_Request] = []
        self._lock = threading.RLock()
        self._patch = pytest.MonkeyPatch()
        self._is_there = False

    def __enter__(self) -> Self:
        import gpiod

        before: Any = gpiod.Chip

        def chip(path: str) -> Any:
            return _Chip(self) if path == self.path else before(path)

        self._patch.setattr(gpiod, "Chip", chip)
        Path(self.path).touch()
        self._is_there = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
        self._patch.undo()

    # the far side

    def pull(self, line: int, up: bool) -> None:
        """Say what an undriven line reads; a change is an edge."""
        with self._lock:
            before = self._lines[line].level
            self._lines[line].pull = up
            if before != self._lines[line].level:
                for request in self._requests:
                    request.edge(line, up)

    def value(self, line: int) -> int:
        """The physical level of a line."""
        return int(self._lines[line].level)

    def remove(self) -> None:
        """Let the chip disappear."""
        with self._lock:
            self._is_there = False
            Path(self.path).unlink(missing_ok=True)
            for request in list(self._requests):
                request.hang_up()

    def insert(self) -> None:
        """Let it come back."""
        Path(self.path).touch()
        self._is_there = True


class _Chip:
    """What `gpiod.Chip` returns."""

    def __init__(self, fake: FakeGpioChip) -> None:
        self._fake = fake

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing: requests outlive the chip's descriptor."""

    def get_info(self) -> _ChipInfo:
        return _ChipInfo(Path(self._fake.path).name, self._fake.label, len(self._fake._lines))  # pyright: ignore

    def get_line_info(self, offset: int) -> _LineInfo:
        line = self._fake._lines[offset]  # pyright: ignore
        return _LineInfo(line.name or None, bool(line.consumer), line.consumer)

    def line_offset_from_id(self, name: str) -> int:
        for offset, line in enumerate(self._fake._lines):  # pyright: ignore
            if line.name == name:
                return offset
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def request_lines(self, *, config: Mapping[int, Any], consumer: str, event_buffer_size: int) -> "_Request":
        return _Request(self._fake, dict(config), consumer, event_buffer_size)


@dataclass(eq=False)
class _Request:
    """What `request_lines` returns."""

    _fake: Any
    _config: dict[int, Any]
    _consumer: str
    _buffer: int
    _events: deque[Any] = field(default_factory=deque[Any], init=False)

    def __post_init__(self) -> None:
        import gpiod

        line = gpiod.line
        with self._fake._lock:
            for offset, settings in self._config.items():
                if self._fake._lines[offset].consumer:
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
                if "bias" in self._fake.unsupported and settings.bias is not line.Bias.AS_IS:
                    raise NotImplementedError("Operation not supported")
            for offset, settings in self._config.items():
                held = self._fake._lines[offset]
                held.consumer = self._consumer
                if settings.bias in (line.Bias.PULL_UP, line.Bias.PULL_DOWN):
                    held.pull = settings.bias is line.Bias.PULL_UP
            self._readable, self._ready = os.pipe()
            self._total, self._of_line = 0, dict.fromkeys(self._config, 0)
            self._fake._requests.append(self)
            self.set_values(
                {o: s.output_value for o, s in self._config.items() if s.direction is line.Direction.OUTPUT}
            )

    @property
    def fd(self) -> int:
        return self._readable

    def get_values(self, offsets: list[int]) -> list[Any]:
        import gpiod

        self._check()
        value = gpiod.line.Value
        levels = [self._fake._lines[o].level != self._config[o].active_low for o in offsets]
        return [value.ACTIVE if level else value.INACTIVE for level in levels]

    def set_values(self, values: Mapping[int, Any]) -> None:
        import gpiod

        self._check()
        for offset, value in values.items():
            self._fake._lines[offset].driven = (value is gpiod.line.Value.ACTIVE) != self._config[offset].active_low

    def edge(self, offset: int, up: bool) -> None:
        """The level of a line has changed."""
        import gpiod

        settings = self._config.get(offset)
        if settings is None or settings.edge_detection is gpiod.line.Edge.NONE:
            return
        self._total += 1
        self._of_line[offset] += 1
        kind = gpiod.EdgeEvent.Type
        self._events.append(
            gpiod.EdgeEvent(
                (kind.RISING_EDGE if up != settings.active_low else kind.FALLING_EDGE).value,
                time.monotonic_ns(),
                offset,
                self._total,
                self._of_line[offset],
            )
        )
        if len(self._events) > self._buffer:
            self._events.popleft()
        else:
            os.write(self._ready, b"\0")

    def read_edge_events(self) -> list[Any]:
        os.read(self._readable, 1)
        self._check()
        with self._fake._lock:
            return [self._events.popleft()]

    def hang_up(self) -> None:
        """The chip is gone."""
        os.close(self._ready)
        self._ready = -1

    def release(self) -> None:
        with self._fake._lock:
            self._fake._requests.remove(self)
            for offset in self._config:
                self._fake._lines[offset].consumer = ""
                self._fake._lines[offset].driven = None  # as gpio-sim does; other chips keep the level
            for fd in (self._readable, self._ready):
                if fd >= 0:
                    os.close(fd)

    def _check(self) -> None:
        if self._ready < 0:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
