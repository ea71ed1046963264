"""Enumerations of the protocol as Python sees them."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

HOOK_WARNING_PREFIX = "[HOOK_WARNING] "
"""What a status message starts with when it carries the warning of a hook."""


class ProtocolEnum(IntEnum):
    """An enumeration whose members have the numbers of the wire."""

    @classmethod
    def from_proto(cls, value: int) -> Self:
        """The member with that number; ValueError where there is none."""
        return cls(value)

    def to_proto(self) -> int:
        """The number on the wire."""
        return int(self)

    @property
    def name_on_wire(self) -> str:
        """The name that the protocol has for it."""
        prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in type(self).__name__).lstrip("_")
        return f"{prefix}_{self.name}"

    def __str__(self) -> str:
        return self.name


class ExporterStatus(ProtocolEnum):
    """Where an exporter is in the life of a lease."""

    UNSPECIFIED = 0
    OFFLINE = 1
    AVAILABLE = 2
    BEFORE_LEASE_HOOK = 3
    LEASE_READY = 4
    AFTER_LEASE_HOOK = 5
    BEFORE_LEASE_HOOK_FAILED = 6
    AFTER_LEASE_HOOK_FAILED = 7

    @property
    def is_ready(self) -> bool:
        """Whether drivers may be used."""
        return self in (self.LEASE_READY, self.BEFORE_LEASE_HOOK, self.AFTER_LEASE_HOOK)


class LogSource(ProtocolEnum):
    """Who wrote a line of the log."""

    UNSPECIFIED = 0
    DRIVER = 1
    BEFORE_LEASE_HOOK = 2
    AFTER_LEASE_HOOK = 3
    SYSTEM = 4
