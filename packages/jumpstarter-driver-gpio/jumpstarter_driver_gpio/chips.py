"""Finding a chip and its lines, and requesting them; failures say which line, why, and what to do.

The kernel's interface is described in its documentation of the GPIO character device (v2), Linux 5.10 and later.
"""

import errno
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jumpstarter.common.exceptions import BusyError, ConfigurationError

if TYPE_CHECKING:
    import gpiod

CONSUMER = "jumpstarter"
"""What other programs see as the user of a line."""

EVENTS_PER_LINE = 1024
"""Edges that the kernel keeps for each line until they are read; at most 16 times as many as one read takes."""

Line = int | str


def library() -> Any:
    """The module gpiod, version 2; ConfigurationError for any other that has this name, or none."""
    try:
        import gpiod
    except ImportError as e:
        raise ConfigurationError(f"GPIO needs Linux and the Python package gpiod: {e}", "pip install gpiod") from e
    if not hasattr(gpiod, "LineSettings"):
        where = getattr(gpiod, "__file__", "unknown")
        raise ConfigurationError(f"GPIO needs gpiod 2, and {where} is another package", "pip install 'gpiod>=2.1'")
    return gpiod


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How lines are requested."""

    output: bool = False
    active_low: bool = False
    drive: str | None = None
    bias: str | None = None
    debounce: float = 0.0
    """Seconds."""
    edges: bool = False

    def settings(self, active: bool) -> "gpiod.LineSettings":
        """The same for gpiod, with the level of an output."""
        gpiod = library()
        line = gpiod.line
        return gpiod.LineSettings(
            direction=line.Direction.OUTPUT if self.output else line.Direction.INPUT,
            edge_detection=line.Edge.BOTH if self.edges else line.Edge.NONE,
            bias=getattr(line.Bias, (self.bias or "as_is").upper()),
            drive=getattr(line.Drive, (self.drive or "push_pull").upper()),
            active_low=self.active_low,
            debounce_period=timedelta(seconds=self.debounce),
            output_value=line.Value.ACTIVE if active else line.Value.INACTIVE,
        )

    def asked(self) -> str:
        """What is special about it, for errors."""
        parts = [self.drive and f"drive {self.drive}", self.bias and f"bias {self.bias}"]
        parts += [f"debounce {self.debounce:g} s" if self.debounce else None, "edges" if self.edges else None]
        return ", ".join(filter(None, parts)) or "its direction"


def chip_paths() -> list[str]:
    """The chips of this host."""
    return sorted(str(path) for path in Path("/dev").glob("gpiochip*") if not path.is_symlink())


def find_chip(wanted: str) -> str:
    """The path of a chip that is named by path, name or label.

    Raises FileNotFoundError that lists the chips there are, and ConfigurationError where several have the label.
    """
    if wanted.startswith("/"):
        if Path(wanted).exists():
            return wanted
        raise FileNotFoundError(f"GPIO chip {wanted} is not there; {_chips_there_are()}")
    found: list[str] = []
    for path in chip_paths():
        try:
            with library().Chip(path) as chip:
                info = chip.get_info()
        except OSError:
            continue
        if wanted == info.name:
            return path
        if wanted == info.label:
            found.append(path)
    if len(found) > 1:
        raise ConfigurationError(f"several GPIO chips have the label {wanted!r}: {', '.join(found)}", "give one's path")
    if not found:
        raise FileNotFoundError(f"no GPIO chip has the name or label {wanted!r}; {_chips_there_are()}")
    return found[0]


def _chips_there_are() -> str:
    known: list[str] = []
    for path in chip_paths():
        try:
            with library().Chip(path) as chip:
                known.append(f"{path} ({chip.get_info().label})")
        except OSError:
            known.append(f"{path} (not readable)")
    return f"this host has {', '.join(known)}" if known else "this host has none; is its driver loaded?"


def request(device: str, lines: Sequence[Line], setup: Setup, levels: Sequence[bool]) -> tuple[Any, list[int]]:
    """Request lines of a chip all at once; returns the request and the offsets of the lines.

    Raises FileNotFoundError, PermissionError, BusyError that names who has a line, ConfigurationError, OSError.
    """
    path = find_chip(device)
    with _explained(path, "open"):
        chip = library().Chip(path)
    with chip:
        offsets = [_offset_of(chip, path, line) for line in lines]
        if len(set(offsets)) < len(offsets):
            raise ConfigurationError(f"GPIO chip {path}: the same line twice in {list(lines)}")
        config = {offset: setup.settings(level) for offset, level in zip(offsets, levels, strict=True)}
        try:
            return chip.request_lines(
                config=config, consumer=CONSUMER, event_buffer_size=EVENTS_PER_LINE * len(offsets)
            ), offsets
        except (OSError, ValueError, NotImplementedError) as e:
            raise _request_error(chip, path, offsets, setup, e) from e


def _offset_of(chip: Any, path: str, line: Line) -> int:
    info = chip.get_info()
    if isinstance(line, int):
        if not 0 <= line < info.num_lines:
            raise ConfigurationError(f"GPIO chip {path} has lines 0 to {info.num_lines - 1}, not {line}")
        return line
    try:
        return int(chip.line_offset_from_id(line))
    except (OSError, ValueError):
        names = [chip.get_line_info(offset).name for offset in range(info.num_lines)]
        known = ", ".join(name for name in names if name) or "none with a name"
        raise ConfigurationError(f"GPIO chip {path} has no line {line!r}; it has {known}") from None


def _request_error(chip: Any, path: str, offsets: Sequence[int], setup: Setup, error: Exception) -> Exception:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EBUSY:
        for offset in offsets:
            info = chip.get_line_info(offset)
            if info.used:
                who = info.consumer or "the kernel"
                return BusyError(
                    f"line {_line_name(info, offset)} of GPIO chip {path} is in use by {who!r}", "stop that"
                )
        return BusyError(f"a line of GPIO chip {path} is in use", "gpioinfo shows by whom")
    names = ", ".join(_line_name(chip.get_line_info(offset), offset) for offset in offsets)
    if isinstance(error, NotImplementedError) or code in (errno.EOPNOTSUPP, errno.ENOTSUP):
        return NotImplementedError(f"GPIO chip {path} cannot do {setup.asked()} on line {names}")
    if isinstance(error, ValueError) or code == errno.EINVAL:
        return ConfigurationError(f"GPIO chip {path} refuses {setup.asked()} on line {names}: {error}")
    return type(error)(f"line {names} of GPIO chip {path}: {getattr(error, 'strerror', None) or error}")


def _line_name(info: Any, offset: int) -> str:
    return f"{offset} ({info.name})" if info.name else str(offset)


@contextmanager
def _explained(path: str, what: str) -> Generator[None]:
    try:
        yield
    except PermissionError as e:
        hint = "add the exporter's user to the group of the device (gpio), or a udev rule"
        raise PermissionError(f"GPIO chip {path}: permission denied; {hint}") from e
    except OSError as e:
        if e.errno == errno.ENOTTY or e.errno == errno.ENODEV:
            raise ConfigurationError(f"{path} is no GPIO chip") from e
        raise OSError(f"GPIO chip {path}: cannot {what}: {(e.strerror or str(e)).lower()}") from e
