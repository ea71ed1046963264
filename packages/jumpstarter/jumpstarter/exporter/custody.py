"""What happens to the devices around a session, whoever gave it: they are marked as used, and taken back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from anyio import current_time, move_on_after

from ..common.limits import CANCEL_AT_STOP, CANCEL_CALLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..common.changes import Changes
    from .hooks import HookOutcome
    from .ownership import Tenure
    from .session import Session

logger = logging.getLogger(__name__)


class Custody:
    """Knows whether the devices of a session were used since they were handed back."""

    def __init__(self, session: Session, changes: Changes) -> None:
        """`changes` are notified when a call of a session that is over has ended."""
        self._session, self._changes = session, changes
        self._is_used = False

    def use(self) -> None:
        """The devices are about to be used, and have to be handed back whatever happens."""
        self._is_used = True
        self._session.marker.begin()

    async def release(self) -> list[str]:
        """Hand the devices back if they were used; what went wrong with that."""
        if not self._is_used:
            return []
        self._is_used = False
        return [f"not handed back as it should be: {failure}" for failure in await self._session.release()]

    async def end_calls(self, tenure: Tenure, is_stopping: Callable[[], bool]) -> None:
        """Cancel what runs for a session that is over, and wait until it has ended; less long where we are to stop."""
        began = current_time()
        for _ in range(2):  # the second time for who took the first for something else
            tenure.cancel()
            with move_on_after(CANCEL_CALLS / 2):
                await self._changes.until(lambda: not tenure.running or is_stopping())
                with move_on_after(CANCEL_AT_STOP / 2):
                    await self._changes.until(lambda: not tenure.running)
            if not tenure.running:
                return
        tenure.failures.append(f"{len(tenure.running)} calls did not end within {current_time() - began:.0f} s")
        logger.error("session of %s: %s", tenure.holder, tenure.failures[-1])

    def note(self, outcome: HookOutcome | None) -> None:
        """Put the run of a hook on record."""
        if outcome is not None:
            self._session.record.event(
                "hook", hook=outcome.kind, outcome=outcome.action, seconds=outcome.duration, message=outcome.message
            )
