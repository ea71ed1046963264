"""The status of an exporter, with its one owner."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.enums import ExporterStatus


@dataclass(frozen=True)
class StatusReport:
    """A status, and how it came about."""

    status: ExporterStatus
    message: str = ""
    version: int = 0
    previous: ExporterStatus | None = None


class StatusBoard:
    """Holds the status."""

    def __init__(self) -> None:
        self.current = StatusReport(ExporterStatus.AVAILABLE)

    def set(self, status: ExporterStatus, message: str = "") -> None:
        """Change the status."""
        before = self.current
        self.current = StatusReport(status, message, before.version + 1, before.status)
