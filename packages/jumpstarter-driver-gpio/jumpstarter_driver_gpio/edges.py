"""Edges of lines."""

from dataclasses import dataclass
from enum import StrEnum


class PinState(StrEnum):
    """The level of a line; with `active_low`, the low one is active."""

    INACTIVE = "inactive"
    ACTIVE = "active"


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A change of a line's level, as the kernel saw it."""

    edge: str
    """rising: it became active; falling: inactive."""

    line: int
    """Offset of the line."""

    timestamp_ns: int
    """When, in nanoseconds of the exporter's monotonic clock."""

    seqno: int
    """Counts the edges of all lines that were requested together, from 1."""

    missed: int = 0
    """Edges of this line before it that were lost, since they came faster than they could be taken."""
