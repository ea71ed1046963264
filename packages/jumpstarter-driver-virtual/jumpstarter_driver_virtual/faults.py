"""The faults that the simulated board has on request."""

from collections.abc import Iterable
from enum import StrEnum


class Fault(StrEnum):
    """What can be wrong with the board; the value is the name that configuration and calls use."""

    BOOT_HANG = "boot-hang"
    """The boot stops in the middle of the log, at the root device; no login, no page."""

    CONSOLE_GARBAGE = "console-garbage"
    """Everything the console sends is noise, as at a wrong baud rate."""

    POWER_DROP = "power-drop"
    """The supply trips: at once when the board runs, later in the middle of every boot."""

    MEDIUM_ABSENT = "medium-absent"
    """There is no medium: nothing to boot from, nothing to write to."""


def fault_named(name: str) -> Fault:
    """Return the fault of that name; raises ValueError that lists the known ones."""
    try:
        return Fault(name)
    except ValueError:
        raise ValueError(f"no fault is called {name!r}; known are {', '.join(Fault)}") from None


def faults_named(names: Iterable[str]) -> set[Fault]:
    """Return the faults of those names; a name that is none raises ValueError."""
    return {fault_named(name) for name in names}
