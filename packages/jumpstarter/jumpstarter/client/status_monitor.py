"""The status of an exporter, followed in the background by whoever waits for one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ..common.changes import Changes
from ..common.enums import ExporterStatus
from .errors import DriverError
from .status import follow_async

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.abc import TaskGroup

    from .status import StatusChange

logger = logging.getLogger(__name__)

Listener = Callable[[ExporterStatus | None, ExporterStatus], object]
"""Called with the status before, and the one of now."""


class StatusMonitor:
    """Knows an exporter's status from `start` to `stop`, on one event loop.

    Exporters of the public release, which do not tell of changes, are asked again and again; an exporter that knows no
    statuses is `get_status_unsupported`, and keeps nobody waiting.
    """

    def __init__(self, stub: Any, poll_interval: float = 0.3, get_status_unsupported: bool = False) -> None:
        """`poll_interval` is how often an exporter is asked that does not tell by itself, in seconds."""
        self.poll_interval = poll_interval
        self.get_status_unsupported = get_status_unsupported
        self.missed_transitions = 0
        """How many statuses came and went between two answers."""

        self.connection_lost = False
        self._stub = stub
        self._change: StatusChange | None = None
        self._changes = Changes()
        self._listeners: list[Listener] = []
        self._scope: CancelScope | None = None

    @property
    def current_status(self) -> ExporterStatus | None:
        """The status, None before the first answer and where there is none."""
        return self._change.status if self._change is not None else None

    @property
    def status_message(self) -> str:
        return self._change.message if self._change is not None else ""

    @property
    def status_version(self) -> int:
        """Grows by one with every change."""
        return self._change.version if self._change is not None else 0

    @property
    def previous_status(self) -> ExporterStatus | None:
        return self._change.previous if self._change is not None else None

    def on_status_change(self, callback: Listener) -> None:
        """Have a function called with every later change, on the event loop."""
        self._listeners.append(callback)

    async def wait_for_status(self, target: ExporterStatus, timeout: float | None = None) -> bool:  # noqa: ASYNC109 as in the public release
        """Wait for a status, at most so many seconds; whether it came."""
        return await self.wait_for_any_of([target], timeout) is not None

    async def wait_for_any_of(
        self,
        targets: Collection[ExporterStatus],
        timeout: float | None = None,  # noqa: ASYNC109 as in the public release
    ) -> ExporterStatus | None:
        """Wait for one of several statuses, which may be the one of now; None if none came, or none will."""
        from anyio import move_on_after

        def found() -> bool:
            return self.current_status in targets or self.connection_lost or self.get_status_unsupported

        with move_on_after(timeout):
            await self._changes.until(found)
        return self.current_status if self.current_status in targets else None

    async def start(self, tg: TaskGroup) -> None:
        """Begin to follow the status, in a task of a group."""
        from anyio import CancelScope

        self._scope = CancelScope()
        tg.start_soon(self._follow, self._scope)

    async def stop(self) -> None:
        """Follow it no longer."""
        if self._scope is not None:
            self._scope.cancel()

    async def _follow(self, scope: CancelScope) -> None:
        with scope:
            try:
                async with aclosing(follow_async(self._stub, self.poll_interval)) as changes:
                    async for change in changes:
                        self._take(change)
                self.get_status_unsupported = True
            except DriverError as e:
                logger.debug("the status of the exporter is not known any more: %s", e)
                self.connection_lost = True
            self._changes.notify()

    def _take(self, change: StatusChange) -> None:
        before = self._change
        if before is not None:
            self.missed_transitions += max(0, change.version - before.version - 1)
        self._change = change
        self._changes.notify()
        if before is None or before.status is not change.status:
            for listener in self._listeners:
                listener(before.status if before is not None else None, change.status)
