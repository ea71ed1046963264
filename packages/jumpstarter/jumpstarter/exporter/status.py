"""The status of an exporter, with its one owner and one way to wait for changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from anyio import Event

from ..common.enums import ExporterStatus


@dataclass(frozen=True)
class StatusReport:
    """A status, and how it came about."""

    status: ExporterStatus
    message: str = ""
    version: int = 0
    previous: ExporterStatus | None = None


class StatusBoard:
    """Holds the status; to be changed on the event loop."""

    def __init__(self) -> None:
        self.current = StatusReport(ExporterStatus.AVAILABLE)
        self._changed: Event | None = None

    def set(self, status: ExporterStatus, message: str = "") -> None:
        """Change the status and wake everybody who waits for a change."""
        before = self.current
        self.current = StatusReport(status, message, before.version + 1, before.status)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def changes(self) -> AsyncGenerator[StatusReport]:
        """The current status, then each new one; a reader that is slow sees the newest, and the gap in `version`."""
        version = -1
        while True:
            if self.current.version == version:
                self._changed = self._changed or Event()
                await self._changed.wait()
            version = self.current.version
            yield self.current
