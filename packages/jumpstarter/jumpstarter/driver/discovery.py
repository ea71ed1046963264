"""What the installed drivers find on this host.

A distribution offers that by an entry point in the group `jumpstarter.discovery`, a function without arguments that
gives `Found` objects. It looks, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..common.text import one_line

GROUP = "jumpstarter.discovery"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A device, as an entry of a configuration."""

    name: str
    """Name of the entry that suggests itself."""

    type: str
    """Dotted path of the driver's class."""

    title: str
    """What it is, in one line for people."""

    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Parameters by which the driver finds this device again, wherever it is plugged in."""

    warnings: tuple[str, ...] = ()
    """What a user has to know or do before the entry is of use."""

    device: str = ""
    """Which physical device it is, such as its USB port; of several entries for one, the first that is not generic."""

    parts: tuple[str, ...] = ()
    """Other physical devices that are parts of it."""

    is_generic: bool = False
    """It is any device of a kind, such as a serial port, which another driver may know better."""


@dataclass(frozen=True)
class Discovery:
    """What was found, and which packages could not look."""

    found: list[Found]
    problems: list[str]


def discover() -> Discovery:
    """Let all installed packages look."""
    found: list[Found] = []
    problems: list[str] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found += _found_by(entry)
        except (Exception, SystemExit) as e:  # noqa: BLE001 whatever one package does, the others look
            problems.append(one_line(f"{entry.name}: {type(e).__name__}: {e}"))
    known = {part for one in found if not one.is_generic for part in (one.device, *one.parts) if part}
    return Discovery([one for one in found if not (one.is_generic and one.device in known)], problems)


def _found_by(entry: EntryPoint) -> Iterable[Found]:
    look: Any = entry.load()
    made = list[Any](look())
    for one in made:
        if not isinstance(one, Found):
            raise TypeError(f"{entry.value} gave {one!r}, which is not Found")
    return made


def named(found: Iterable[Found]) -> dict[str, Found]:
    """Entries by name, where those after the first of a name get a number."""
    names: dict[str, Found] = {}
    for one in found:
        number, name = 1, one.name
        while name in names:
            number += 1
            name = f"{one.name}{number}"
        names[name] = one
    return names
