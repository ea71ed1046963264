"""The life of a session's drivers: locked, reset, tried again where their devices are not there, and closed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from anyio import Event, move_on_after

from ..common.exceptions import DeviceFaultyError
from ..common.limits import RETRY_WAIT
from ..driver.base import Driver
from ..driver.identity import has_identity, identity_of
from ..driver.rounds import Halt, Job, Round
from ..driver.standin import StandIn, Waiting, waits_for
from ..driver.turns import Failure, Turns, raise_any
from .devicelocks import DeviceLocks
from .reasons import required_error
from .states import Condition, DriverState, States, Trouble

if TYPE_CHECKING:
    from jumpstarter_protocol.jumpstarter.v1.jumpstarter_pb2 import DriverInstanceReport

logger = logging.getLogger(__name__)

_LAST_ATTEMPT = 1.0
"""Seconds that an attempt to get a driver back has to end before all are closed."""


@dataclass(frozen=True)
class Tolerance:
    """The session begins with the drivers that can be used."""

    required: frozenset[str] = frozenset()
    """Paths of those without which it does not."""


class Upkeep:
    """The drivers of one tree, from reset to close. The methods may be called from any thread."""

    def __init__(
        self,
        root: Driver,
        refresh: Callable[[], object],
        tolerance: Tolerance | None = None,
        config: str = "",
        halt: Halt | None = None,
        turn: Callable[[Driver], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """`turn` is what a driver is reset in when it is tried again: no call of it runs meanwhile."""
        self._halt, self._turn = halt or Halt(), turn
        self._root = root
        self._refresh = refresh
        self._tolerance = tolerance
        self._locks = DeviceLocks(config)
        self._identities: dict[str, str] = {}
        self._swapping = threading.Lock()
        self._is_over = False
        self.states = States()

    # beginning and end

    def begin(self) -> None:
        """Take the devices and reset the drivers, each as far as it is there.

        Raises BusyError when another exporter has a device, and what a driver raised unless that is tolerated; Halted
        after a halt.
        """
        unknown = self._identify()
        turns = Turns("reset", done=[failure.driver for failure in unknown], late=self._ended_late, halt=self._halt)
        jobs = turns.jobs(self._root, "")
        for failure in unknown:  # not reset before it is known to be ours; those below it are
            jobs += turns.below(failure.driver, failure.path)
        turns.take(jobs)
        self._halt.check()
        failures = [*unknown, *turns.failures]
        if self._tolerance is None:
            raise_any(failures, "reset")
            return
        for failure in failures:
            if failure.path in self._tolerance.required:
                raise required_error(failure.path, failure.error)
        self._note(failures)
        for path, driver in _walk(self._root):
            if isinstance(driver, StandIn):
                self._look_for(driver, path)

    def reset(self) -> None:
        """Reset all drivers again; raises the first failure when all had their turn."""
        turns = Turns("reset", late=self._ended_late)
        failures = turns.run(self._root)
        if self._tolerance is not None:
            failed = {id(failure.driver) for failure in failures}
            self._note(failures)
            for trouble in list(self.states.troubles.values()):
                if not isinstance(trouble.driver, StandIn) and id(trouble.driver) not in failed:
                    self.states.recovered(trouble)
        raise_any(failures, "reset")

    def end(self) -> None:
        """Close the drivers and give the devices back; raises the first failure when all had their turn."""
        with self._swapping:
            self._is_over = True
        self.states.stop(_LAST_ATTEMPT)
        try:
            raise_any(Turns("close", report=_warn_of_hanging).run(self._root), "close")
        finally:
            self._locks.release()

    # identities

    def identity(self, driver: Driver) -> str:
        """The physical device of a driver, empty where it has none."""
        return self._identities.get(str(driver.uuid), "")

    def _identify(self) -> list[Failure]:
        """Take the devices of all drivers; returns those that could not say which theirs is."""
        questions = [_Question(driver, path) for path, driver in _walk(self._root) if has_identity(driver)]
        if questions:
            Round(list[Job](questions), halt=self._halt).run()
            self._halt.check()
        for question in questions:
            if question.identity is not None:
                self._take(question.driver, question.path, question.identity)
        return [question.failure for question in questions if question.failure is not None]

    def _take(self, driver: Driver, path: str, identity: str) -> None:
        self._locks.take(identity, path)
        self._identities[str(driver.uuid)] = identity

    def describe(self, driver: Driver, report: DriverInstanceReport) -> DriverInstanceReport:
        """Add to the report of a driver which device it has, and whether that can be used."""
        from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

        state = self._state(driver)
        report.state.CopyFrom(pb.DriverState(condition=state.condition.value, reason=state.reason, hint=state.hint))
        report.identity = self.identity(driver)
        return report

    def _state(self, driver: Driver) -> DriverState:
        if isinstance(driver, Waiting) and driver.problem:
            return DriverState(Condition.FAULTY, driver.problem, "correct the configuration")
        return self.states.of(str((waits_for(driver) or driver).uuid))

    # drivers that cannot be used

    async def check_usable(self, driver: Driver) -> None:
        """Wait a moment for a driver that cannot be used, and raise why if it stays so."""
        behind = waits_for(driver) or driver
        trouble = self.states.troubles.get(str(behind.uuid))
        if trouble is None:
            if isinstance(driver, Waiting) and driver.problem:
                raise self._state(driver).error()
            return
        loop, ended = asyncio.get_running_loop(), Event()

        def done() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(ended.set)

        try:
            with move_on_after(RETRY_WAIT):
                self.states.try_now(trouble, done)
                await ended.wait()
        finally:
            self.states.give_up(trouble, done)
        if str(behind.uuid) in self.states.troubles:
            raise trouble.state.error()

    def _note(self, failures: list[Failure]) -> None:
        """Keep calls away from drivers that failed to reset, and try that again."""
        for failure in failures:
            trouble = Trouble(failure.driver, failure.path, failure.error)
            trouble.attempt = self._again(trouble)
            self.states.add(trouble, is_running=not failure.has_ended)

    def _ended_late(self, driver: Driver, error: BaseException | None) -> None:
        """A reset that was given up has ended."""
        trouble = self.states.troubles.get(str(driver.uuid))
        if trouble is not None:
            self.states.ended(trouble, error)

    def _again(self, trouble: Trouble) -> Callable[[], None]:
        """The attempt to reset a driver."""

        def attempt() -> None:
            driver = trouble.driver
            if str(driver.uuid) not in self._identities and (identity := identity_of(driver)) is not None:
                self._take(driver, trouble.path, identity)
            others = [other for _, other in _walk(self._root) if other is not driver and id(other) in had_theirs]
            turns = Turns("reset", done=others, late=self._ended_late)
            try:
                with self._turn(driver):
                    turns.only(driver, trouble.path)
            finally:
                self._note(turns.failures)
                had_theirs.update((id(other), other) for _, other in _walk(driver))
                self._refresh()

        had_theirs = {id(driver): driver for _, driver in _walk(self._root)}
        return attempt

    def _look_for(self, stand_in: StandIn, path: str) -> None:
        """Keep trying to make a driver that a stand-in stands for."""
        trouble = Trouble(cast("Driver", stand_in), path, stand_in.failure)

        def attempt() -> None:
            made = self._made(stand_in)
            again = self._again(trouble)  # before the driver is in the tree: those that it brings along are new
            with self._swapping:
                if not self._is_over:
                    made.uuid = stand_in.uuid
                    stand_in.driver = made
                    self._settle()
                    self._check_place(stand_in, made)
            if stand_in.driver is None:
                _close(made, stand_in)
                return
            trouble.driver, trouble.attempt = made, again
            again()

        trouble.attempt = attempt
        self.states.add(trouble)

    def _made(self, stand_in: StandIn) -> Driver:
        """The driver, from a constructor that still runs or from another attempt."""
        try:
            if stand_in.pending is not None:
                return stand_in.pending.result()
            return stand_in.make(stand_in.children)
        except BaseException as e:
            stand_in.failure = e
            raise
        finally:
            stand_in.pending = None

    def _check_place(self, stand_in: StandIn, made: Driver) -> None:
        """Take a driver out again that does not fit into the tree."""
        try:
            self._refresh()
        except BaseException:
            stand_in.driver = None
            for _, parent in list(_walk(self._root)):
                for name, child in list(parent.children.items()):
                    if child is made:
                        parent.children[name] = cast("Driver", stand_in)
            _close(made, stand_in)
            raise

    def _settle(self) -> None:
        """Put the drivers that are there in the places of their stand-ins."""
        for _, parent in _walk(self._root):
            for name, child in list(parent.children.items()):
                if isinstance(child, StandIn) and child.driver is not None:
                    parent.children[name] = child.driver


def _walk(driver: Driver, path: str = "") -> Iterator[tuple[str, Driver]]:
    """The drivers below one and itself, each with its path; references are not followed."""
    yield path, driver
    for name, child in list(driver.children.items()):
        yield from _walk(child, f"{path}.{name}" if path else name)


def _close(driver: Driver, stand_in: StandIn) -> None:
    """Close a driver that cannot take its place, without those below it that were there before."""
    others = [other for child in stand_in.children.values() for _, other in _walk(child)]
    for failure in Turns("close", done=others).run(driver):
        logger.warning("closing %s, which has no place any more: %s", type(driver).__name__, failure.error)


def _warn_of_hanging(failure: Failure) -> None:
    if not failure.has_ended:
        logger.warning("driver %s: %s", failure.path or "(root)", failure.error)


class _Question(Job):
    """Asks a driver which physical device it is."""

    def __init__(self, driver: Driver, path: str) -> None:
        super().__init__()
        self.driver, self.path = driver, path
        self.identity: str | None = None
        self.failure: Failure | None = None

    def run(self) -> None:
        self.identity = identity_of(self.driver)

    def ended(self, error: BaseException | None) -> Iterable[Job]:
        if error is not None:
            self.failure = Failure(self.driver, self.path, error, has_ended=not self.is_overdue)
        return ()

    def overdue(self, seconds: float) -> BaseException:
        return DeviceFaultyError(f"identity has not ended after {seconds:g} s", "look at the device")
