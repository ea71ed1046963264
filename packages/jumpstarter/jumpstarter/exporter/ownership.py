"""Who holds the one session of an exporter, who waits for it, and whose calls are let in.

A session is *explicit* when its client asked for it and keeps a stream open for it: its calls carry its token. It is
*implicit* when calls without a token came to an exporter that nobody held: it belongs to the principal that the
transport shows, the local user or an address. Everything here happens on the exporter's event loop.
"""

from __future__ import annotations

import os
import time
from asyncio import CancelledError, current_task
from collections import deque
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from ..common import holders
from ..common.changes import Changes
from ..common.exceptions import (
    BusyError,
    ExporterStoppingError,
    JumpstarterException,
    LimitError,
    SessionEndedError,
)
from ..common.limits import IDLE_SESSION, MAX_WAITING

_REMEMBERED = 64
"""Sessions that have ended of which it is still known why."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a session, or wants to."""

    principal: str
    """Who it is for the transport: the local user, or an address."""

    user: str
    host: str = ""
    pid: int = 0
    """Process of the client on its host; 0 where it did not say."""

    purpose: str = ""
    since: float = 0.0
    """When the session began, in seconds since the epoch."""

    def is_same_user(self, other: Holder) -> bool:
        """Whether both are the same user on the same host, as far as one can tell."""
        return (self.principal, self.user, self.host) == (other.principal, other.user, other.host)

    def __str__(self) -> str:
        return holders.describe(self.user, self.host, self.pid, self.since, self.purpose)


class Tenure:
    """One session: who holds it, and what runs for them. A context manager around what runs in the current task."""

    def __init__(self, owner: Ownership, holder: Holder, token: str | None = None) -> None:
        self.holder = holder
        self.token = token
        """What its calls carry; None if the session is implicit."""

        self.cause: str | None = None
        """Why it has ended."""

        self.running: set[Any] = set()
        """Tasks of its calls and streams."""

        self.idle_since = time.monotonic()
        self.failures: list[str] = []
        """What could not be taken back in order when it had ended."""

        self.is_settled = False
        """It has ended, and everything that follows from that is done."""

        self.answers: Callable[[], Awaitable[bool]] | None = None
        """Ask its client for a sign of life; False if there is none."""

        self._owner = owner
        self._cancelled: set[Any] = set()

    @property
    def is_over(self) -> bool:
        return self.cause is not None

    @property
    def idle_left(self) -> float | None:
        """Seconds until it may end because nothing ran meanwhile; None if it does not end by that."""
        if self.token is not None:
            return None
        if self.running:
            return IDLE_SESSION
        return max(0.0, self.idle_since + IDLE_SESSION - time.monotonic())

    def ending(self) -> JumpstarterException:
        """What its calls are told once it is over."""
        return self._owner.ending_of(self)

    def enter(self, task: Any) -> None:
        """Something begins to run."""
        self.running.add(task)

    def leave(self, task: Any) -> None:
        """Something has ended."""
        self.running.discard(task)
        if not self.running:
            self.idle_since = time.monotonic()
            self._owner.became_idle(self)

    def cancel(self) -> None:
        """Cancel what runs."""
        for task in self.running:
            self._cancelled.add(task)
            task.cancel()

    def __enter__(self) -> None:
        self.running.add(current_task())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        task = current_task()
        self.leave(task)
        if task in self._cancelled:
            self._cancelled.discard(task)
            if kind is not None and issubclass(kind, CancelledError) and task is not None:
                task.uncancel()  # it was us: the call goes on, to tell its client
                raise self.ending() from None


class Claim:
    """What a client is given that asks for an explicit session: the session once it is its own, or why it is not."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.tenure: Tenure | None = None
        self.refusal: JumpstarterException | None = None

    @property
    def is_decided(self) -> bool:
        return self.tenure is not None or self.refusal is not None


class Ownership:
    """At most one session at a time; the next one begins after `vacate` and `open`, first come, first served."""

    def __init__(self, *, observers: bool = False) -> None:
        self.changes = Changes()
        self.began: Callable[[Tenure], None] = _nothing
        """Called when a session begins, before its first call is let in."""

        self.tenure: Tenure | None = None
        """The session of now, also while it is taken back."""

        self._observing = Tenure(self, Holder(principal="", user="observers"), "") if observers else None
        self._is_open = False
        self._refusal: JumpstarterException | None = None
        self._queue: deque[Claim] = deque()
        self._past: dict[str, str] = {}

    # whose calls are let in

    def admit(self, token: str | None, principal: str, *, read_only: bool = False) -> Tenure | None:
        """The session that a call belongs to, which may begin with it; None where that has to be asked again later.

        Raises BusyError when somebody else has the session, SessionEndedError when the caller's is over.
        """
        tenure = self.tenure
        if tenure is not None and tenure.cause is None:
            if token is None:
                if tenure.token is None and tenure.holder.principal == principal:
                    return tenure
            elif tenure.token == token:
                return tenure
        if token is not None and not self._is_closed:
            raise self._ended(token)
        if read_only and self._observing is not None:
            return self._observing
        return self._admit_newcomer(principal)

    def _admit_newcomer(self, principal: str) -> Tenure | None:
        if self._refusal is not None:
            raise copy(self._refusal)
        if self.tenure is not None and not self.tenure.is_over:
            raise self._busy(principal)
        if not self._is_open:
            return None
        return self._begin(Holder(principal=principal, user=principal), None)

    def _ended(self, token: str) -> SessionEndedError:
        cause = self._past.get(token)
        if cause is None:
            return SessionEndedError(
                "the session is none of this exporter's; it was started anew, or is another one",
                "begin one with jmp shell, or unset JMP_SESSION",
            )
        return SessionEndedError(f"the session has ended: {cause}", "begin another one with jmp shell")

    def _busy(self, principal: str) -> BusyError:
        assert self.tenure is not None
        holder = self.tenure.holder
        if self.tenure.token is None:
            return BusyError(
                f"the exporter is held by {holder}, until {IDLE_SESSION / 60:g} min after the last call",
                "wait for your turn with jmp shell --wait",
            )
        inside = "use it in there, or " if holder.principal == principal else ""
        return BusyError(f"the exporter is held by {holder}", f"{inside}wait for your turn with jmp shell --wait")

    # explicit sessions

    def claim(self, holder: Holder, *, wait: bool = False) -> Claim:
        """Ask for a session, which is given at once or as soon as the exporter is ready for the next one.

        Raises BusyError when somebody has it or is waiting for it, unless the claim is to wait, too.
        """
        if self._refusal is not None:
            raise copy(self._refusal)
        if not wait:
            self._check_is_next(holder)
        elif len(self._queue) >= MAX_WAITING:
            raise LimitError(f"{MAX_WAITING} clients wait for this exporter already (limit MAX_WAITING)")
        claim = Claim(holder)
        self._queue.append(claim)
        self._advance()
        return claim

    def _check_is_next(self, holder: Holder) -> None:
        if self._queue:
            first = self._queue[0].holder
            raise BusyError(f"{first} waits for the exporter", "wait for your turn with jmp shell --wait")
        if self.tenure is not None and not self.tenure.is_over and not self._gives_way(self.tenure, holder):
            raise self._busy(holder.principal)

    def withdraw(self, claim: Claim, cause: str) -> None:
        """A client no longer wants its session, or no longer waits for it."""
        if claim.tenure is not None:
            self.end(claim.tenure, cause)
        elif claim in self._queue:
            self._queue.remove(claim)
            self._advance()

    @staticmethod
    def _gives_way(tenure: Tenure, holder: Holder) -> bool:
        """Whether a session ends by itself for an explicit one: an implicit one of the same principal, at rest."""
        return tenure.token is None and tenure.holder.principal == holder.principal and not tenure.running

    def _advance(self) -> None:
        """Give the session to who waits first, if it can be had."""
        if not self._queue:
            return
        first = self._queue[0]
        if self.tenure is None:
            if self._is_open:
                self._queue.popleft()
                first.tenure = self._begin(first.holder, os.urandom(24).hex())
                self.changes.notify()
        elif not self.tenure.is_over and self._gives_way(self.tenure, first.holder):
            self.end(self.tenure, "its user began another one")

    # the session's life

    def _begin(self, holder: Holder, token: str | None) -> Tenure:
        assert self.tenure is None, "two sessions at a time"
        self._is_open = False
        self.tenure = Tenure(self, replace(holder, since=time.time()), token)
        self.began(self.tenure)
        self.changes.notify()
        return self.tenure

    def became_idle(self, tenure: Tenure) -> None:
        """The last call of a session has ended."""
        if tenure.is_over:
            self.changes.notify()
        elif self._queue:
            self._advance()

    def end(self, tenure: Tenure, cause: str) -> None:
        """End a session: from now on none of its calls is let in. Nothing happens if it has ended."""
        if tenure.is_over:
            return
        tenure.cause = cause
        if tenure.token is not None:
            self._past[tenure.token] = cause
            if len(self._past) > _REMEMBERED:
                del self._past[next(iter(self._past))]
        self.changes.notify()

    def ending_of(self, tenure: Tenure) -> JumpstarterException:
        """What the calls of a session that is over are told."""
        if self._is_closed:
            return _stopping()
        return SessionEndedError(f"the session has ended: {tenure.cause}")

    def end_by_request(self, token: str | None, principal: str) -> tuple[bool, str]:
        """End the session of who asks for that; whether it has ended as an explicit one, and a text for people."""
        if token is not None:
            return self._end_of(token)
        tenure = self.tenure
        if tenure is None or tenure.is_over:
            return False, "there is no session"
        if tenure.token is not None or tenure.holder.principal != principal:
            return False, f"the session is held by {tenure.holder}; only its holder can end it"
        if tenure.running:
            return False, "this session has no lease; it ends when its calls have ended and you disconnect"
        self.end(tenure, "its user ended it")
        return False, "this session has no lease; it has ended, and the next call begins another one"

    def _end_of(self, token: str) -> tuple[bool, str]:
        if self.tenure is not None and self.tenure.token == token:
            self.end(self.tenure, "its client ended it")
        if token not in self._past:
            return False, str(self._ended(token))
        return True, f"the session has ended: {self._past[token]}"

    def vacate(self) -> None:
        """The session that has ended is taken back; nobody holds the exporter."""
        assert self.tenure is not None and self.tenure.is_over, "the session has not ended"
        self.tenure.is_settled = True
        self.tenure = None
        self.changes.notify()

    def open(self) -> None:
        """The exporter is ready for the next session."""
        assert self.tenure is None, "the session is somebody's"
        if self._is_closed:
            return
        self._is_open, self._refusal = True, None
        self._advance()
        self.changes.notify()

    def refuse(self, reason: JumpstarterException) -> None:
        """The exporter cannot be used until it is opened: tell that to everybody who comes, and who waits."""
        self._is_open, self._refusal = False, reason
        while self._queue:
            self._queue.popleft().refusal = copy(reason)
        self.changes.notify()

    @property
    def _is_closed(self) -> bool:
        return isinstance(self._refusal, ExporterStoppingError)

    def close(self, cause: str) -> None:
        """End the session, and begin no other one."""
        self.refuse(_stopping())
        if self.tenure is not None:
            self.end(self.tenure, cause)


def _nothing(tenure: Tenure) -> None:
    """Nobody wants to know."""


def _stopping() -> ExporterStoppingError:
    return ExporterStoppingError("the exporter is gone: it was stopped", "start it again")
