"""GPIO chips of this host, for `jmp discover`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jumpstarter.driver.discovery import Found
from jumpstarter.usb import current_host

from .chips import library

MOST_LINES = 64
"""Lines of a port."""


def discover() -> Iterator[Found]:
    """Each chip that has lines that nobody uses, by its label where no other has it."""
    paths = sorted(path for path in current_host().dev.glob("gpiochip*") if not path.is_symlink())
    chips: list[tuple[Path, Any, list[Any]]] = []
    for path in paths:
        try:
            with library().Chip(str(path)) as chip:
                info = chip.get_info()
                chips.append((path, info, [chip.get_line_info(offset) for offset in range(info.num_lines)]))
        except OSError as e:
            yield _unreadable(path, e)
    labels = Counter(info.label for _, info, _ in chips)
    for path, info, lines in chips:
        if not all(line.used for line in lines):
            yield _found(path, info, lines, labels[info.label])


def _found(path: Path, info: Any, lines: list[Any], twins: int) -> Found:
    names = Counter(line.name for line in lines)
    free = [
        line.name if line.name and names[line.name] == 1 else offset
        for offset, line in enumerate(lines)
        if not line.used
    ]
    busy = [
        f"{offset} {line.name}".strip() + f" by {line.consumer!r}" for offset, line in enumerate(lines) if line.used
    ]
    warnings = ["name the lines that are meant: one that has another function loses it when it is requested"]
    if busy:
        warnings.append(f"in use: {', '.join(busy)}")
    if len(free) > MOST_LINES:
        warnings.append(f"{len(free)} lines are free, and a port has {MOST_LINES} at most")
    is_own = bool(info.label) and twins == 1
    if not is_own:
        warnings.append(f"{twins} chips have the label {info.label!r}: it is told by its path, which may be another's")
    return Found(
        name="gpio",
        type="jumpstarter_driver_gpio.driver.DigitalPort",
        title=f"GPIO chip {info.label or info.name} ({path}), {info.num_lines} lines",
        config={"device": info.label if is_own else str(path), "lines": free[:MOST_LINES]},
        warnings=tuple(warnings),
        device=_device(path),
        is_generic=True,
    )


def _unreadable(path: Path, error: OSError) -> Found:
    return Found(
        name="gpio",
        type="jumpstarter_driver_gpio.driver.DigitalPort",
        title=f"GPIO chip {path}",
        config={"device": str(path), "lines": [0]},
        warnings=(f"its lines are not known: {(error.strerror or str(error)).lower()} (see jmp driver udev)",),
        device=_device(path),
        is_generic=True,
    )


def _device(path: Path) -> str:
    """The USB port of a chip that is a part of an adapter, else its path."""
    host = current_host()
    owner = host.owner(host.sysfs / "bus/gpio/devices" / path.name)
    return owner.port if owner is not None else str(path)
