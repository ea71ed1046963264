"""Making the drivers of a configuration, and stand-ins for those whose devices are not there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from ..common.exceptions import ArgumentError, ConfigurationError, DeviceAbsentError, DeviceFaultyError
from ..common.limits import DRIVER_LIFE
from ..config.exporter import ExporterConfigV1Alpha1
from ..config.tree import Plan, check_made, construction_error
from ..driver.base import Driver
from ..driver.rounds import Halt, Halted, Job, Round
from ..driver.standin import StandIn, stand_in
from ..driver.turns import Failure, Turns
from .reasons import describe, hint_of, required_error

logger = logging.getLogger(__name__)

_CONFIGURATION = (ValueError, TypeError, ConfigurationError, ArgumentError)

Names = tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """The drivers of a configuration."""

    root: Driver
    required: frozenset[str]
    """Paths of those without which the exporter does not start."""


def make_drivers(config: ExporterConfigV1Alpha1, halt: Halt | None = None) -> Made:
    """Make the drivers of a configuration, as far as their devices are there.

    A constructor that raises OSError or DeviceAbsentError, or does not end within 10 s, leaves a stand-in. Raises
    ConfigurationError for what no device can change, DeviceAbsentError or DeviceFaultyError where one is required, and
    Halted after a `halt`; then all that were made are closed.
    """
    planned = config.plan()
    making = _Making(halt or Halt())
    jobs = [_Making.Job(making, names, plan) for names, plan in _children_first(planned, ())]
    Round(jobs, patience=DRIVER_LIFE, halt=making.halt).run()
    try:
        making.halt.check()
        if making.failure is not None:
            raise making.failure
        root = making.made[()]
        check_made(root, planned, is_whole=lambda driver: not isinstance(driver, StandIn))
    except BaseException:
        making.close()
        raise
    return Made(root, frozenset(".".join(names) for names, plan in _children_first(planned, ()) if plan.entry.required))


def _children_first(planned: Plan, names: Names) -> Iterator[tuple[Names, Plan]]:
    for name, child in planned.children.items():
        yield from _children_first(child, (*names, name))
    yield names, planned


class _Making:
    """What was made so far."""

    def __init__(self, halt: Halt) -> None:
        self.halt = halt
        self.made: dict[Names, Driver] = {}
        self.failure: BaseException | None = None

    class Job(Job):
        """Makes one driver, whose children are there."""

        def __init__(self, making: _Making, names: Names, planned: Plan) -> None:
            super().__init__()
            self._making, self._names, self._plan = making, names, planned
            self._children: dict[str, Driver] = {}
            self._driver: Driver | None = None
            self._pending: Future[Driver] | None = None

        def run(self) -> None:
            if self._making.failure is None:
                self._children = {name: self._making.made[(*self._names, name)] for name in self._plan.children}
                self._driver = self._plan.make(self._children)

        def ended(self, error: BaseException | None) -> Iterable[Job]:
            making, driver = self._making, self._driver if error is None else None
            if making.failure is None and making.halt.is_set:
                making.failure = Halted()
            if making.failure is None and error is not None:
                driver = self._without(error)
            if driver is not None:
                making.made[self._names] = driver
            return ()

        def ended_late(self, error: BaseException | None) -> None:
            assert self._pending is not None
            if self._driver is not None:
                self._pending.set_result(self._driver)
                if self._making.failure is not None:
                    self._making.close([self._driver])
            else:
                self._pending.set_exception(error or DeviceFaultyError("it was not made"))

        def overdue(self, seconds: float) -> BaseException:
            self._pending = Future()
            return DeviceAbsentError(
                f"it is still being made after {seconds:g} s", "wait, or look why its device does not answer"
            )

        def _without(self, error: BaseException) -> Driver | None:
            """What stands in for a driver that could not be made; None where the exporter cannot start."""
            plan, making = self._plan, self._making
            path = ".".join(self._names)
            missing = _missing(self._children)
            is_wrong = isinstance(error, _CONFIGURATION) and not isinstance(error, OSError) and not missing
            if is_wrong or not self._names:
                making.failure = construction_error(plan, error)
                making.failure.__cause__ = error
                return None
            if plan.entry.required:
                making.failure = required_error(path, error)
                return None
            if missing and self._pending is None:
                error = _needing(missing, error)

            def make(children: dict[str, Driver]) -> Driver:
                try:
                    return plan.make(children)
                except (Exception, SystemExit) as e:
                    if still_missing := _missing(children):
                        raise _needing(still_missing, e) from None
                    raise

            stands_in = stand_in(plan.cls, plan.arguments, self._children, make, error, self._pending)
            plan.mark(stands_in)
            return stands_in

    def close(self, drivers: Iterable[Driver] | None = None) -> None:
        """Close what was made, the last first."""
        closed = [] if drivers is None else list(self.made.values())
        turns = Turns("close", report=_report, done=closed)
        for driver in reversed(self.made.values()) if drivers is None else drivers:
            turns.take(turns.jobs(driver, driver.name))


def _missing(children: dict[str, Driver]) -> dict[str, StandIn]:
    """Those of a driver's children that are not there."""
    return {name: child for name, child in children.items() if isinstance(child, StandIn)}


def _needing(missing: dict[str, StandIn], error: BaseException) -> DeviceAbsentError:
    """Why a driver could not be made while others below it are not there."""
    failure = next(iter(missing.values())).failure
    made = DeviceAbsentError(
        f"it needs {' and '.join(missing)}, which is absent: {describe(failure)}", hint_of(failure)
    )
    made.__context__ = error
    return made


def _report(failure: Failure) -> None:
    logger.warning("closing %s, since the exporter does not start: %s", type(failure.driver).__name__, failure.error)
