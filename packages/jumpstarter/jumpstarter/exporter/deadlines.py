"""Deadlines of calls, of which there are many and hardly any passes: one timer looks after all of them."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from ..common.exceptions import CallTimeoutError

TICK = 0.05
"""Seconds by which a deadline may be late."""


class Deadlines:
    """The calls that run on one event loop, with what they have left. No timer runs while there are none."""

    def __init__(self) -> None:
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Deadline:
        """A context in which a task may spend so many seconds; then it is cancelled, which becomes CallTimeoutError."""
        return Deadline(self, seconds)

    def begin(self, deadline: Deadline) -> None:
        self._running[deadline] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def end(self, deadline: Deadline) -> None:
        del self._running[deadline]

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick) if self._running else None
        now = monotonic()
        for deadline in self._running:
            if deadline.time <= now:
                deadline.expire()


class Deadline:
    """The time of one task; see `Deadlines.within`."""

    __slots__ = ("_deadlines", "_expired", "_seconds", "_task", "time")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self._expired = False
        self._task: Any = None
        self.time = 0.0

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self.time = monotonic() + self._seconds
        self._deadlines.begin(self)

    def expire(self) -> None:
        """Cancel the task, once."""
        if not self._expired:
            self._expired = True
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._deadlines.end(self)
        if self._expired and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            hint = "check the device; call_timeout of the driver allows more"
            raise CallTimeoutError(f"no result within {self._seconds:g} s", hint) from None
