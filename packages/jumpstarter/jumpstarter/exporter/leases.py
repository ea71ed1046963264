"""The leases of an exporter, one after the other: prepared, served through tunnels, ended, taken back.

What the controller says last counts, however often or in whatever order it says it: a lease has at most one session at
a time, the next one begins after the devices are taken back, and none begins for a lease that its client has ended.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio import CancelScope, create_task_group, move_on_after, sleep_forever

from ..common.changes import Changes, first_of
from ..common.enums import HOOK_WARNING_PREFIX, ExporterStatus
from ..common.exceptions import HookFailedError
from ..common.limits import HOOK_FAILED_SHOWN, IDLE_SESSION, LEASE_SHOWN
from .custody import Custody
from .leasegate import LeaseGate
from .ownership import Holder, Ownership, Tenure
from .tunnels import Tunnels

if TYPE_CHECKING:
    from ..config.exporter import ExporterConfigV1Alpha1
    from .controller import Assignment, Controller
    from .hooks import HookOutcome
    from .leasehooks import LeaseHooks
    from .session import Session

logger = logging.getLogger(__name__)

_REMEMBERED = 256
"""Leases that their clients have ended, which get no further session."""


class LeaseLife:
    """Serves the leases that a controller gives, until told to stop."""

    def __init__(
        self, config: ExporterConfigV1Alpha1, session: Session, controller: Controller, hooks: LeaseHooks
    ) -> None:
        self._config, self._session, self._controller, self._hooks = config, session, controller, hooks
        self._motd = session.motd
        self._ownership = Ownership()
        self._custody = Custody(session, self._changes)
        self._done: deque[str] = deque(maxlen=_REMEMBERED)
        self._warnings: list[str] = []
        self._is_stopping = self._is_draining = False
        self.failure: HookFailedError | None = None
        """Why it ended by itself."""

    @property
    def _changes(self) -> Changes:
        """One for all that this waits for; those of the controller, too, are passed on."""
        return self._ownership.changes

    # from outside

    def stop(self) -> None:
        """End the lease of now, if there is one, and take no other."""
        self._is_stopping = True
        self._hooks.hurry()
        self._changes.notify()

    def drain(self) -> None:
        """Take no other lease after the one of now."""
        logger.info("the exporter stops after this lease" if self._controller.assignment else "the exporter stops")
        self._is_draining = True
        self._changes.notify()

    async def run(self) -> None:
        """Serve leases until told to stop, by a cancellation too; not before the devices are taken back does it end."""
        async with create_task_group() as watching:
            watching.start_soon(self._stop_when_cancelled)
            with CancelScope(shield=True):
                async with create_task_group() as tasks:
                    tasks.start_soon(self._pass_changes_on)
                    tasks.start_soon(self._release_done)
                    try:
                        await self._leases()
                    finally:
                        tasks.cancel_scope.cancel()
            watching.cancel_scope.cancel()

    async def _stop_when_cancelled(self) -> None:
        try:
            await sleep_forever()
        finally:
            self.stop()

    async def _pass_changes_on(self) -> None:
        seen: object = self
        while True:
            seen = await self._controller.changes.until(lambda seen=seen: self._news(seen))
            self._changes.notify()

    async def _release_done(self) -> None:
        """Have the controller end the leases that their clients have ended, whenever it says that we are in one."""
        while True:
            await self._controller.release(await self._changes.until(self._done_lease))

    def _done_lease(self) -> str:
        assignment = self._controller.assignment
        return assignment.lease if assignment is not None and assignment.lease in self._done else ""

    def _news(self, seen: object) -> object:
        state = (self._controller.assignment, self._controller.is_connected, self._controller.refusal)
        return None if state == seen else state

    # one after the other

    async def _leases(self) -> None:
        try:
            self._offer()
            while assignment := await self._next():
                await self._serve(assignment)
                if self._config.exit_on_lease_end:
                    return
        finally:
            try:
                await self._custody.release()
            finally:
                self._session.update_status(ExporterStatus.OFFLINE, str(self.failure or "the exporter stops"))

    async def _next(self) -> Assignment | None:
        """Wait for the next lease; None where there will be none."""
        found = await self._changes.until(lambda: self._open_lease() or self._has_to_end())
        return None if found is True else self._open_lease()

    def _open_lease(self) -> Assignment | None:
        assignment = self._controller.assignment
        if assignment is None or assignment.lease in self._done or self._has_to_end():
            return None
        return assignment

    def _has_to_end(self) -> bool:
        return self._is_stopping or self._is_draining or self._controller.refusal is not None

    def _offer(self) -> None:
        """Say that the exporter can be leased."""
        message = HOOK_WARNING_PREFIX + "; ".join(self._warnings) if self._warnings else ""
        self._warnings.clear()
        self._session.update_status(ExporterStatus.AVAILABLE, message)

    # one lease

    async def _serve(self, assignment: Assignment) -> None:
        """Follow a lease from its beginning to its end."""
        holder = Holder(principal=assignment.lease, user=assignment.client, purpose=f"lease {assignment.lease}")
        tenure = Tenure(self._ownership, holder, assignment.lease)
        gate = LeaseGate(self._session, self._ownership, tenure)
        logger.info("lease %s of %s begins", assignment.lease, assignment.client or "an unknown client")
        self._session.record.begin(user=assignment.client, peer="controller", lease=assignment.lease)
        async with self._session.serve_unix_async(gate=gate) as socket, create_task_group() as tunnelling:
            tunnels = Tunnels(self._controller, self._config, assignment.lease, self._changes)
            tunnelling.start_soon(tunnels.run, socket)
            with self._held(tenure):
                try:
                    if await self._prepare(assignment, tenure):
                        gate.open()
                        await self._until_over(assignment, tenure, tunnels)
                finally:
                    with CancelScope(shield=True):
                        self._ownership.end(tenure, "the exporter failed")  # unless it has ended
                        await self._take_back(assignment, tenure)
            if self._controller.assignment == assignment:
                await self._show_end(tunnels)
            tunnelling.cancel_scope.cancel()
        if self._controller.assignment == assignment and not self._is_stopping:
            self._done.append(assignment.lease)
            self._changes.notify()

    @contextmanager
    def _held(self, tenure: Tenure) -> Generator[None]:
        self._session.status.set_holder(tenure.holder)
        self._custody.use()
        try:
            yield
        finally:
            self._session.status.set_holder(None)

    async def _show_end(self, tunnels: Tunnels) -> None:
        """Leave a client that ended its lease the time to see how that went."""
        with move_on_after(LEASE_SHOWN):
            await self._changes.until(lambda: not tunnels.count or self._is_stopping)

    async def _prepare(self, assignment: Assignment, tenure: Tenure) -> bool:
        """Make the devices ready for the client; whether they are."""
        outcome = None
        if self._hooks.has("beforeLease"):
            self._session.update_status(ExporterStatus.BEFORE_LEASE_HOOK)
            outcome = await self._run_before(assignment)
        if (cause := self._ending(assignment)) is not None:
            self._ownership.end(tenure, cause)
            return False
        if outcome is not None and outcome.action in ("endLease", "exit"):
            await self._fail(ExporterStatus.BEFORE_LEASE_HOOK_FAILED, outcome)
            self._ownership.end(tenure, outcome.message)
            return False
        warning = outcome.status_message if outcome is not None and not outcome.is_success else ""
        if outcome is not None and outcome.motd:
            self._session.motd = "\n".join(filter(None, (self._motd, outcome.motd)))
        self._session.update_status(ExporterStatus.LEASE_READY, warning)
        return True

    async def _run_before(self, assignment: Assignment) -> HookOutcome | None:
        """Run the hook before the lease; one that is not over when the lease is, is ended."""
        found: list[HookOutcome | None] = []

        async def run() -> None:
            found.append(await self._hooks.run("beforeLease", assignment.client, assignment.lease))

        async def over() -> None:
            await self._changes.until(lambda: self._ending(assignment))

        await first_of(run, over)
        outcome = found[0] if found else None
        self._custody.note(outcome)
        return outcome

    async def _fail(self, status: ExporterStatus, outcome: HookOutcome) -> None:
        """A hook has failed so that there is no lease, or no exporter any more; its client gets the time to see it."""
        self._session.update_status(status, outcome.message)
        if outcome.action == "exit":
            self.failure, self._is_stopping = HookFailedError(outcome.message), True
        with move_on_after(HOOK_FAILED_SHOWN):
            await self._changes.until(lambda: self._is_stopping and self.failure is None)

    def _ending(self, assignment: Assignment) -> str | None:
        """Why a lease is over for the exporter; None while it is not."""
        if self._is_stopping:
            return "the exporter stops"
        if self._controller.assignment != assignment:
            return "the controller ended it"
        return None

    async def _until_over(self, assignment: Assignment, tenure: Tenure, tunnels: Tunnels) -> None:
        """Wait for the end of a lease.

        While nobody could tell us of that, it is over when its client has had no connection for a long time.
        """
        while not tenure.is_over:
            if (cause := self._ending(assignment)) is not None:
                self._ownership.end(tenure, cause)
                return
            left = self._patience(tunnels)
            if left is not None and left <= 0:
                gone = "refuses the exporter" if self._controller.refusal is not None else "is away"
                self._ownership.end(tenure, f"the controller {gone}, and its client is gone")
                return
            with move_on_after(left):
                await self._changes.until(
                    lambda left=left: (
                        tenure.is_over
                        or self._ending(assignment)
                        or (self._patience(tunnels) is None) != (left is None)
                        or self._patience(tunnels) == 0
                    )
                )

    def _patience(self, tunnels: Tunnels) -> float | None:
        """Seconds for which a lease goes on that nobody could end or use; None while somebody could."""
        if tunnels.count or self._controller.is_connected:
            return None
        if self._controller.refusal is not None:  # nobody can come any more
            return 0
        return tunnels.last_used + IDLE_SESSION - time.monotonic()

    async def _take_back(self, assignment: Assignment, tenure: Tenure) -> None:
        """Bring the devices back from a lease that is over; what goes wrong with that is told, and stops nothing."""
        logger.info("lease %s has ended: %s", assignment.lease, tenure.cause)
        await self._custody.end_calls(tenure, lambda: self._is_stopping)
        status = self._session.status.current.status
        if status is not ExporterStatus.BEFORE_LEASE_HOOK_FAILED:
            await self._after(assignment, tenure)
        tenure.failures += await self._custody.release()
        self._session.record.end(str(tenure.cause), failures=tenure.failures[:])
        self._session.motd = self._motd
        self._warnings += tenure.failures
        if self.failure is None and not self._is_stopping:
            self._offer()

    async def _after(self, assignment: Assignment, tenure: Tenure) -> None:
        """Run the hook after the lease."""
        if not self._hooks.has("afterLease") or not assignment.client:
            return
        self._session.update_status(ExporterStatus.AFTER_LEASE_HOOK)
        outcome = await self._hooks.run("afterLease", assignment.client, assignment.lease)
        self._custody.note(outcome)
        if outcome is None or outcome.is_success:
            return
        tenure.failures.append(outcome.message)
        if outcome.action in ("endLease", "exit"):
            await self._fail(ExporterStatus.AFTER_LEASE_HOOK_FAILED, outcome)
