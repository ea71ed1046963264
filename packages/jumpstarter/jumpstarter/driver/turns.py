"""Turns: `reset` or `close` of every driver of a tree, each once, whatever the others do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..common.exceptions import DeviceFaultyError
from ..common.limits import DRIVER_LIFE
from .rounds import PATIENCE, Halt, Job, Round

if TYPE_CHECKING:
    from .base import Driver

Act = Literal["reset", "close"]

_DOING: dict[Act, str] = {"reset": "resetting", "close": "closing"}


@dataclass(frozen=True)
class Failure:
    """What went wrong at a driver."""

    driver: Driver
    path: str
    """Names from the root, joined with dots; empty for the root."""

    error: BaseException
    has_ended: bool = True
    """False: it still runs."""

    def __str__(self) -> str:
        return f"{self.path}: {self.error}" if self.path else str(self.error)


_current: ContextVar[_Turn | None] = ContextVar("turn", default=None)


class Turns:
    """One round through a tree, in which each driver resets itself, or closes.

    A driver's own method decides when its children get their turn, by `super()`; those that it leaves out, because it
    fails or hangs, get it afterwards. `done` are drivers that had theirs. `report` is called with each failure at once,
    `late` when a driver that was given up has ended after all, with its error if it had one; both from any thread.
    After a `halt` no further driver has its turn.
    """

    def __init__(
        self,
        act: Act,
        *,
        done: Iterable[Driver] = (),
        report: Callable[[Failure], None] | None = None,
        late: Callable[[Driver, BaseException | None], None] | None = None,
        patience: float = PATIENCE,
        halt: Halt | None = None,
    ) -> None:
        self.act: Act = act
        self.failures: list[Failure] = []
        self.late = late
        self._report = report
        self._patience, self._halt = patience, halt
        self._lock = threading.Lock()
        self._claimed = {id(driver): driver for driver in done}  # kept, so that no other driver gets the same id

    def run(self, root: Driver) -> list[Failure]:
        """Let all have their turn; returns what went wrong."""
        self.take(self.jobs(root, ""))
        return self.failures

    def only(self, driver: Driver, path: str) -> None:
        """Let one driver have its turn in this thread, however long it takes; raises what it does.

        Drivers below it that had none yet get theirs as always.
        """
        turn = _Turn(self, driver, path)
        turn.start()
        turn.run()
        self.take(self.below(driver, path))

    def deadline(self, driver: Driver) -> float:
        """Seconds that a driver has for its turn."""
        return DRIVER_LIFE

    def take(self, jobs: Iterable[Job]) -> None:
        Round(jobs, self._patience, self._halt).run()

    def claim(self, driver: Driver) -> bool:
        """Whether the driver has not had its turn; from now on it has."""
        with self._lock:
            if id(driver) in self._claimed:
                return False
            self._claimed[id(driver)] = driver
            return True

    def jobs(self, driver: Driver, path: str) -> list[Job]:
        """The turn of a driver, or where it does nothing itself, those of its children."""
        from .base import Driver

        if id(driver) in self._claimed:
            return []
        if getattr(type(driver), self.act) is getattr(Driver, self.act):
            self.claim(driver)
            return self.below(driver, path)
        return [_Turn(self, driver, path)]

    def below(self, driver: Driver, path: str) -> list[Job]:
        """The turns of a driver's children."""
        children = list(driver.children.items())
        return [job for name, child in children for job in self.jobs(child, f"{path}.{name}" if path else name)]

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)
        if self._report is not None:
            self._report(failure)


class _Turn(Job):
    """That of one driver."""

    def __init__(self, turns: Turns, driver: Driver, path: str) -> None:
        super().__init__()
        self.turns, self.driver, self.path = turns, driver, path

    def run(self) -> None:
        if not self.turns.claim(self.driver):
            return
        _current.set(self)
        try:
            getattr(self.driver, self.turns.act)()
        finally:
            _current.set(None)

    def deadline(self) -> float:
        return self.turns.deadline(self.driver)

    def ended(self, error: BaseException | None) -> Iterable[Job]:
        if error is not None:
            self.turns.failed(Failure(self.driver, self.path, error, has_ended=not self.is_overdue))
        return self.turns.below(self.driver, self.path)

    def ended_late(self, error: BaseException | None) -> None:
        if self.turns.late is not None:
            self.turns.late(self.driver, error)

    def overdue(self, seconds: float) -> BaseException:
        return DeviceFaultyError(
            f"{self.turns.act} has not ended after {seconds:g} s", "look at the device, then restart the exporter"
        )


def each_child(driver: Driver, act: Act) -> None:
    """Reset or close the children of a driver, as a part of a round where there is one.

    Otherwise each gets its turn, and what fails is raised then.
    """
    turn = _current.get()
    if turn is None:
        _plain(driver, act)
        return
    turns, path = turn.turns, turn.path
    if driver is not turn.driver:  # one that the driver calls by itself
        turns.claim(driver)
        names = [name for name, child in turn.driver.children.items() if child is driver] or [driver.name]
        path = f"{path}.{names[0]}" if path else names[0]
    if jobs := turns.below(driver, path):
        turn.wait()
        try:
            turns.take(jobs)
        finally:
            turn.go_on()


def _plain(driver: Driver, act: Act) -> None:
    failures: list[Exception] = []
    for name, child in driver.children.items():
        try:
            getattr(child, act)()
        except Exception as e:  # noqa: BLE001 collected, and raised together below
            e.add_note(f"while {_DOING[act]} {name}")
            failures.append(e)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup(f"{len(failures)} children of {driver.name} failed to {act}", failures)


def raise_any(failures: list[Failure], act: Act) -> None:
    """Raise the first failure, if there is one, with notes that name its driver and the other failures."""
    if not failures:
        return
    first, *others = failures
    if first.path:
        first.error.add_note(f"while {_DOING[act]} {first.path}")
    for failure in others:
        first.error.add_note(f"{_DOING[act]} {failure.path or 'the root'} failed too: {failure.error}")
    raise first.error
