"""Which drivers can be used, why the others cannot, and the attempts to change that."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from random import uniform
from typing import TYPE_CHECKING

from ..common.exceptions import DeviceAbsentError, DeviceFaultyError, JumpstarterException
from ..common.limits import RETRY_FIRST, RETRY_MOST
from ..common.text import one_line
from .reasons import describe, hint_of, is_absence

if TYPE_CHECKING:
    from ..driver.base import Driver

logger = logging.getLogger(__name__)


class Condition(Enum):
    """Whether a device can be used. The values are the names of the protocol."""

    READY = "READY"
    ABSENT = "ABSENT"
    FAULTY = "FAULTY"


@dataclass(frozen=True)
class DriverState:
    """The condition of a driver, the reason for it, and what to do."""

    condition: Condition
    reason: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = self.condition.name.lower()
        return ": ".join(filter(None, [text, "; ".join(filter(None, [self.reason, self.hint]))]))

    def error(self) -> JumpstarterException:
        """What a call of the driver raises."""
        if self.condition is Condition.ABSENT:
            return DeviceAbsentError(f"the device is absent: {self.reason}", self.hint)
        return DeviceFaultyError(f"the driver is faulty: {self.reason}", self.hint)


READY = DriverState(Condition.READY)


def state_of(error: BaseException) -> DriverState:
    """The state of a driver that cannot be used because of an error."""
    condition = Condition.ABSENT if is_absence(error) else Condition.FAULTY
    return DriverState(condition, one_line(describe(error))[:500], one_line(hint_of(error))[:300])


Attempt = Callable[[], None]
"""Tries to get a driver back, in a thread of its own; raises where that fails."""


def _nothing() -> None:
    """No attempt."""


class Trouble:
    """A driver that cannot be used."""

    def __init__(self, driver: Driver, path: str, error: BaseException) -> None:
        self.driver = driver
        """It, or what stands in for it."""

        self.path = path
        self.state = state_of(error)
        self.attempt: Attempt = _nothing
        self.delay = RETRY_FIRST
        self.due = 0.0
        self.is_running = False
        """An attempt is under way, or a method that was given up still runs."""

        self.waiting: list[Callable[[], None]] = []

    def postpone(self) -> None:
        """Let the next attempt come after a while, each time a longer one."""
        self.due = time.monotonic() + self.delay * uniform(0.8, 1.2)
        self.delay = min(2 * self.delay, RETRY_MOST)


class States:
    """The states of a session's drivers. May be used from any thread."""

    def __init__(self) -> None:
        self.troubles: dict[str, Trouble] = {}
        """The drivers that take no calls, by uuid."""

        self.marked: dict[str, DriverState] = {}
        """Those that said in a call that their device is absent, by uuid; they are asked again in the next call."""

        self.on_change: list[Callable[[str, DriverState], None]] = []
        """Called with the path and the new state of a driver, from any thread."""

        self._changed = threading.Condition()
        self._timer: threading.Thread | None = None
        self._stopped = False

    def of(self, uuid: str) -> DriverState:
        """The state of a driver."""
        trouble = self.troubles.get(uuid)
        return trouble.state if trouble is not None else self.marked.get(uuid, READY)

    # drivers that take no calls

    def add(self, trouble: Trouble, *, is_running: bool = False) -> None:
        """Let a driver take no calls until an attempt succeeds."""
        with self._changed:
            trouble.is_running = is_running
            trouble.postpone()
            self.troubles[str(trouble.driver.uuid)] = trouble
            self._wake()
        self._tell(trouble.path, trouble.state)

    def ended(self, trouble: Trouble, error: BaseException | None) -> None:
        """Note the outcome of an attempt; after one that failed another follows."""
        if error is None:
            self.recovered(trouble)
            return
        state = state_of(error)
        if state != trouble.state:
            trouble.state = state
            self._tell(trouble.path, state)
        self._rest(trouble)

    def recovered(self, trouble: Trouble) -> None:
        """Let a driver take calls again."""
        with self._changed:
            self.troubles.pop(str(trouble.driver.uuid), None)
            for other in self.troubles.values():  # one of them may have waited for this one
                other.due = 0.0
        self._tell(trouble.path, READY)
        self._rest(trouble)

    def _rest(self, trouble: Trouble) -> None:
        with self._changed:
            trouble.is_running = False
            trouble.postpone()
            waiting, trouble.waiting = trouble.waiting, []
            self._changed.notify_all()
        for done in waiting:
            done()

    def try_now(self, trouble: Trouble, done: Callable[[], None]) -> None:
        """Begin an attempt, unless one is under way; `done` is called from its thread when it has ended."""
        with self._changed:
            if self.troubles.get(str(trouble.driver.uuid)) is trouble:
                trouble.waiting.append(done)
                self._start(trouble)
                return
        done()  # it is there again since it was looked up

    def give_up(self, trouble: Trouble, done: Callable[[], None]) -> None:
        """Do not call `done` any more."""
        with self._changed:
            if done in trouble.waiting:
                trouble.waiting.remove(done)

    def _start(self, trouble: Trouble) -> None:
        if trouble.is_running or self._stopped:
            return
        trouble.is_running = True
        threading.Thread(target=self._attempt, args=(trouble,), name=f"looking for {trouble.path}", daemon=True).start()

    def _attempt(self, trouble: Trouble) -> None:
        error: BaseException | None = None
        try:
            trouble.attempt()
        except BaseException as e:  # noqa: BLE001 whatever a constructor raises, there is another attempt
            error = e
        self.ended(trouble, error)

    def _wake(self) -> None:
        if self._timer is None and not self._stopped:
            self._timer = threading.Thread(target=self._keep_trying, name="looking for devices", daemon=True)
            self._timer.start()
        self._changed.notify_all()

    def _keep_trying(self) -> None:
        with self._changed:
            while self.troubles and not self._stopped:
                now = time.monotonic()
                for trouble in self._idle():
                    if trouble.due <= now:
                        self._start(trouble)
                pauses = [trouble.due - now for trouble in self._idle()]
                self._changed.wait(max(0.01, min(pauses)) if pauses else None)
            self._timer = None

    def _idle(self) -> Iterator[Trouble]:
        return (trouble for trouble in list(self.troubles.values()) if not trouble.is_running)

    def stop(self, patience: float) -> None:
        """Begin no further attempt, and wait a moment for those under way."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not any(t.is_running for t in self.troubles.values()), patience)

    # drivers that take calls

    def absent(self, uuid: str, path: str, error: BaseException) -> None:
        """Note that a driver said in a call that its device is absent."""
        state = state_of(error)
        if uuid not in self.troubles and self.marked.get(uuid) != state:
            self.marked[uuid] = state
            self._tell(path, state)

    def present(self, uuid: str, path: str) -> None:
        """Note that a call of a driver succeeded."""
        if self.marked.pop(uuid, None) is not None:
            self._tell(path, READY)

    def _tell(self, path: str, state: DriverState) -> None:
        if state is READY:
            logger.info("driver %s is ready", path or "(root)")
        else:
            logger.warning("driver %s is %s", path or "(root)", state)
        for listener in self.on_change:
            listener(path, state)
