"""The sessions of an exporter that serves by itself, one after the other: prepared, begun, ended, taken back."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, create_task_group, move_on_after

from ..common.enums import HOOK_WARNING_PREFIX, ExporterStatus
from ..common.exceptions import HookFailedError
from ..common.limits import HOOK_FAILED_SHOWN, HOOK_RETRY
from .custody import Custody
from .ownership import Ownership, Tenure

if TYPE_CHECKING:
    from .leasehooks import LeaseHooks
    from .session import Session

logger = logging.getLogger(__name__)


class SessionLife:
    """Offers the devices of a session to one client after the other, or with `once` to one only."""

    def __init__(self, session: Session, ownership: Ownership, hooks: LeaseHooks, *, once: bool = False) -> None:
        self._once = once
        self._session, self._ownership, self._hooks = session, ownership, hooks
        ownership.began = self._begin
        self._motd = session.motd
        self._warnings: list[str] = []
        self._custody = Custody(session, ownership.changes)
        self._is_stopping = self._was_tried = self._was_offered = self._is_over = False
        self.failure: HookFailedError | None = None
        """Why it ended by itself."""

    # around it

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Offer the devices meanwhile; at the end the last session is taken back."""
        failure: BaseException | None = None
        async with create_task_group() as tasks:
            tasks.start_soon(self._run)
            try:
                yield
            except BaseException as e:  # noqa: BLE001 raised below, or it would be one of a group
                failure = e
            with CancelScope(shield=True):
                self._is_stopping = True
                self._hooks.hurry()
                self._ownership.close("the exporter stops")
                await self.over()
        if failure is not None:
            raise failure

    async def tried(self) -> None:
        """Wait until the devices are offered for the first time, or cannot be."""
        await self._ownership.changes.until(lambda: self._was_tried or self._is_over)

    async def offered(self) -> None:
        """Wait until the devices are offered for the first time."""
        await self._ownership.changes.until(lambda: self._was_offered)

    async def over(self) -> None:
        """Wait until they are offered no more."""
        await self._ownership.changes.until(lambda: self._is_over)

    # what happens

    async def _run(self) -> None:
        with CancelScope(shield=True):  # it ends by itself, and not before the devices are taken back
            await self._sessions()

    async def _sessions(self) -> None:
        try:
            delay, longest = HOOK_RETRY
            while not self._is_stopping:
                if not await self._prepare():
                    failures = await self._custody.release()  # what the hook that failed has done
                    self._warnings += [failure for failure in failures if failure not in self._warnings]
                    await self._pause(delay)
                    delay = min(2 * delay, longest)
                    continue
                delay = HOOK_RETRY[0]
                self._offer()
                tenure = await self._ownership.changes.until(lambda: self._ownership.tenure or self._is_stopping)
                if isinstance(tenure, Tenure):
                    await self._serve(tenure)
                    self._is_stopping = self._is_stopping or self._once
        finally:
            try:
                await self._custody.release()  # what the hook before the session that never began has done, or is left
            finally:
                self._session.update_status(ExporterStatus.OFFLINE, str(self.failure or "the exporter stops"))
                self._is_over = True
                self._ownership.changes.notify()

    async def _pause(self, delay: float) -> None:
        with move_on_after(delay):
            await self._ownership.changes.until(lambda: self._is_stopping)

    async def _prepare(self) -> bool:
        """Make the devices ready for the next session; whether they are."""
        if self._hooks.has("beforeLease"):
            self._custody.use()
            self._session.update_status(ExporterStatus.BEFORE_LEASE_HOOK)
        outcome = await self._hooks.run("beforeLease")
        self._custody.note(outcome)
        self._was_tried = True
        if outcome is not None and outcome.action in ("endLease", "exit"):
            self._fail(ExporterStatus.BEFORE_LEASE_HOOK_FAILED, outcome.message, ends=outcome.action == "exit")
            return False
        if outcome is not None and not outcome.is_success:
            self._warnings.append(outcome.message)
        if outcome is not None and outcome.motd:
            self._session.motd = "\n".join(filter(None, (self._motd, outcome.motd)))
        return not self._is_stopping

    def _fail(self, status: ExporterStatus, message: str, *, ends: bool) -> None:
        """A hook has failed, so that there is no session until it works, or never again."""
        self._session.update_status(status, message)
        failure = HookFailedError(message)
        if ends:
            self.failure, self._is_stopping = failure, True
        self._ownership.refuse(failure)

    def _offer(self) -> None:
        """Let the next session begin."""
        message = HOOK_WARNING_PREFIX + "; ".join(self._warnings) if self._warnings else ""
        self._warnings.clear()
        self._was_offered = True
        self._session.update_status(ExporterStatus.LEASE_READY, message)
        self._ownership.open()

    def _begin(self, tenure: Tenure) -> None:
        """Note that a session begins; its first call finds the mark that shows whether the exporter was killed."""
        logger.info("session of %s begins", tenure.holder)
        self._session.status.set_holder(tenure.holder)
        self._session.record.begin(**_who(tenure))
        self._custody.use()

    async def _serve(self, tenure: Tenure) -> None:
        """Follow a session to its end."""
        try:
            await self._until_over(tenure)
        finally:
            logger.info("session of %s has ended: %s", tenure.holder, tenure.cause)
            await self._take_back(tenure)

    async def _until_over(self, tenure: Tenure) -> None:
        """Wait for the end of a session; one that nobody began explicitly ends when it was idle for long."""
        while not tenure.is_over:
            left = tenure.idle_left
            if left == 0:
                self._ownership.end(tenure, "no call came for a long time")
                return
            with move_on_after(left):
                await self._ownership.changes.until(lambda: tenure.is_over)

    async def _take_back(self, tenure: Tenure) -> None:
        """Bring the devices back from a session that is over; what goes wrong with that is told, and stops nothing."""
        self._session.update_status(ExporterStatus.AVAILABLE, f"the session has ended: {tenure.cause}")
        await self._custody.end_calls(tenure, lambda: self._is_stopping)
        await self._after(tenure)
        tenure.failures += await self._custody.release()
        self._session.record.end(str(tenure.cause), failures=tenure.failures[:])
        self._warnings += tenure.failures
        self._session.status.set_holder(None)
        self._ownership.vacate()

    async def _after(self, tenure: Tenure) -> None:
        """Run the hook after the session."""
        if not self._hooks.has("afterLease"):
            return
        self._session.update_status(ExporterStatus.AFTER_LEASE_HOOK)
        outcome = await self._hooks.run("afterLease", tenure.holder.user)
        self._custody.note(outcome)
        if outcome is None or outcome.is_success:
            return
        tenure.failures.append(outcome.message)
        if outcome.action in ("endLease", "exit"):
            self._fail(ExporterStatus.AFTER_LEASE_HOOK_FAILED, outcome.message, ends=outcome.action == "exit")
            await self._pause(HOOK_FAILED_SHOWN)


def _who(tenure: Tenure) -> dict[str, Any]:
    """What the record says of who has a session."""
    holder = tenure.holder
    told = {"host": holder.host, "pid": holder.pid, "purpose": holder.purpose}
    return {"user": holder.user, "peer": holder.principal, **{key: value for key, value in told.items() if value}}
