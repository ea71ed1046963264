"""Rounds: jobs that touch hardware, one after another, none of which can stop the others.

All run in one thread. Where a job takes long, another thread goes on with the next; one that has not ended at its
deadline is given up, and its thread left to it. Rounds with the same `Halt` can be ended early.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import copy_context

from ..common.limits import DRIVER_LIFE, HALT

PATIENCE = 1.0
"""Seconds after which the next job does not wait any longer for the one before."""


class Halted(Exception):
    """The exporter was told to stop before all its drivers were made and reset."""

    def __init__(self) -> None:
        super().__init__("told to stop before the devices were ready; closing those that were")


class Halt:
    """The word to stop, given from any thread: no further job begins, and those under way have a moment to end."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = threading.Lock()
        self._rounds: list[threading.Condition] = []

    @property
    def is_set(self) -> bool:
        """Whether it was given."""
        return self._since is not None

    def set(self) -> None:
        """Give it."""
        with self._told:
            self._since = time.monotonic()
            rounds = list(self._rounds)
        for changed in rounds:
            with changed:
                changed.notify_all()

    def check(self) -> None:
        """Raise Halted if it was given."""
        if self.is_set:
            raise Halted

    def is_over(self, now: float) -> bool:
        """Whether that moment has passed."""
        return self._since is not None and now - self._since >= HALT

    @contextmanager
    def heard(self, changed: threading.Condition) -> Generator[None]:
        """Have a condition notified when it is given."""
        with self._told:
            self._rounds.append(changed)
        try:
            yield
        finally:
            with self._told:
                self._rounds.remove(changed)


class Job:
    """One thing to do; its clock stands still while it waits for a round of its own."""

    def __init__(self) -> None:
        self._began = self._since = 0.0
        self._spent = 0.0
        self._is_waiting = False
        self.is_passed = False
        """The next one has begun, although this one has not ended."""

        self.is_overdue = False
        """It was given up."""

    def run(self) -> None:
        """Do it."""
        raise NotImplementedError

    def deadline(self) -> float:
        """Seconds that it may take itself until it is given up."""
        return DRIVER_LIFE

    def ended(self, error: BaseException | None) -> Iterable[Job]:
        """It has ended in time, or was given up with an error; returns the jobs that come next."""
        raise NotImplementedError

    def ended_late(self, error: BaseException | None) -> None:
        """It has ended after it was given up."""

    def overdue(self, seconds: float) -> BaseException:
        """The error of a job that has not ended after so many seconds."""
        raise NotImplementedError

    def start(self) -> None:
        self._began = self._since = time.monotonic()

    def wait(self) -> None:
        """Let the clock stand still."""
        self._spent += time.monotonic() - self._since
        self._is_waiting = True

    def go_on(self) -> None:
        self._since = time.monotonic()
        self._is_waiting = False

    def lasts(self, now: float) -> float:
        """Seconds since it began."""
        return now - self._began

    def spent(self, now: float) -> float:
        """Seconds that it took itself."""
        return self._spent + (0.0 if self._is_waiting else now - self._since)


class Round:
    """Runs jobs, and those that they bring about."""

    def __init__(self, jobs: Iterable[Job], patience: float = PATIENCE, halt: Halt | None = None) -> None:
        self._queue = deque(jobs)
        self._patience = patience
        self._halt = halt or Halt()
        self._changed = threading.Condition()
        self._running: list[Job] = []
        self._threads = 0
        """Those that take jobs from the queue."""

    def run(self) -> None:
        """Run all, or those that have begun at a halt; returns when each has ended or was given up."""
        with self._halt.heard(self._changed), self._changed:
            while self._has_next or self._running or self._threads:
                now = time.monotonic()
                self._look_after(now)
                if self._has_next and not self._threads:
                    self._start_thread()
                elif self._has_next or self._running or self._threads:
                    self._changed.wait(self._until_next(now))

    @property
    def _has_next(self) -> bool:
        return bool(self._queue) and not self._halt.is_set

    def _start_thread(self) -> None:
        self._threads += 1
        context = copy_context()
        threading.Thread(target=lambda: context.run(self._work), name="life of drivers", daemon=True).start()

    def _look_after(self, now: float) -> None:
        for job in list(self._running):
            job.is_overdue = job.spent(now) >= job.deadline() or self._halt.is_over(now)
            if not job.is_passed and (job.is_overdue or job.lasts(now) >= self._patience):
                job.is_passed = True
                self._threads -= 1
            if job.is_overdue:
                self._running.remove(job)
                self._queue.extendleft(reversed(list(job.ended(job.overdue(job.deadline())))))

    def _until_next(self, now: float) -> float:
        moments = [job.deadline() - job.spent(now) for job in self._running]
        moments += [self._patience - job.lasts(now) for job in self._running if not job.is_passed]
        return max(min([*moments, self._patience, *([HALT / 4] if self._halt.is_set else [])]), 0.001)

    def _work(self) -> None:
        while (job := self._take()) is not None:
            error: BaseException | None = None
            try:
                job.run()
            except BaseException as e:  # noqa: BLE001 whatever it is, the others get their turn
                error = e
            if not self._give(job, error):
                return

    def _take(self) -> Job | None:
        with self._changed:
            if not self._has_next:
                self._threads -= 1
                self._changed.notify_all()
                return None
            job = self._queue.popleft()
            job.start()
            self._running.append(job)
            return job

    def _give(self, job: Job, error: BaseException | None) -> bool:
        """Note that a job has ended; whether this thread takes another."""
        with self._changed:
            if not job.is_overdue:
                self._running.remove(job)
                self._queue.extendleft(reversed(list(job.ended(error))))
                if job.is_passed:
                    self._changed.notify_all()
                return not job.is_passed
        job.ended_late(error)
        return False
