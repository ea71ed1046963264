"""The status of an exporter, with its one owner."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..common.changes import Changes
from ..common.enums import ExporterStatus
from ..common.limits import STATUS_HISTORY

if TYPE_CHECKING:
    from .ownership import Holder


@dataclass(frozen=True)
class StatusReport:
    """A status, and how it came about."""

    status: ExporterStatus
    message: str = ""
    version: int = 0
    previous: ExporterStatus | None = None
    holder: Holder | None = None
    """Who has the session."""


class StatusBoard:
    """Holds the status, from any thread, and its newest reports, so that a slow reader misses none."""

    def __init__(self) -> None:
        self.current = StatusReport(ExporterStatus.AVAILABLE)
        self._history = deque([self.current], maxlen=STATUS_HISTORY)
        self._changes = Changes()
        self._lock = threading.Lock()

    def set(self, status: ExporterStatus, message: str = "") -> None:
        """Change the status."""
        with self._lock:
            self._report(StatusReport(status, message, holder=self.current.holder))

    def set_holder(self, holder: Holder | None) -> None:
        """Say who has the session now, which leaves the status as it is."""
        with self._lock:
            self._report(replace(self.current, holder=holder))

    def _report(self, report: StatusReport) -> None:
        before = self.current
        self.current = replace(report, version=before.version + 1, previous=before.status)
        self._history.append(self.current)
        self._changes.notify()

    def after(self, version: int) -> StatusReport | None:
        """The report that follows a version, None while there is none.

        A version of which nothing is known, as of an exporter that was started anew, is followed by the current one.
        """
        with self._lock:
            if version > self.current.version:
                return self.current
            return next((report for report in self._history if report.version > version), None)

    async def changes(self, after: int | None = None) -> AsyncGenerator[StatusReport]:
        """Every report after a version, one by one as they come; from the current one on without a version."""
        if after is None:
            report = self.current
            after = report.version
            yield report
        while True:
            report = await self.next(after)
            after = report.version
            yield report

    async def next(self, version: int) -> StatusReport:
        """Wait for the report that follows a version."""
        report = await self._changes.until(lambda: self.after(version))
        assert report is not None
        return report
