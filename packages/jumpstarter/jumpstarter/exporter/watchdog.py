"""Names the driver that blocks the event loop, on which everybody else waits.

A thread asks the loop for a sign of life now and then, as long as coroutines of drivers run there. When it gets none,
it looks at where the loop's thread is. It is the same one for all sessions of a loop, and outlives a session for a
while: to begin a thread takes longer than to serve a call.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import ClassVar
from weakref import WeakKeyDictionary

from ..common.limits import BLOCKED
from ..driver.base import Driver

logger = logging.getLogger(__name__)

LINGER = 5.0
"""Seconds after which the thread ends when there is no session any more."""


class Watchdog:
    """Watches the event loop for one session, between `begin` and `end`."""

    def __init__(self, path_of: Callable[[Driver], str]) -> None:
        self.path_of = path_of
        self.watched = 0
        self._thread: _Thread | None = None

    def begin(self) -> None:
        """Watch the loop until as many `end`s have come; RuntimeError where the system has no thread left."""
        if self._thread is None:
            self._thread = _Thread.of(asyncio.get_running_loop(), self)
        self.watched += 1
        if not self._thread.awake.is_set():
            self._thread.awake.set()

    def end(self) -> None:
        """One reason less to watch."""
        self.watched -= 1

    def close(self) -> None:
        """Watch no more."""
        self.watched = 0
        if self._thread is not None:
            self._thread.dogs.pop(self, None)


class _Thread:
    """Asks one event loop for signs of life. It sleeps while nothing is watched."""

    _of_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, _Thread]] = WeakKeyDictionary()
    _lock = threading.Lock()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.dogs: dict[Watchdog, None] = {}
        self.awake = threading.Event()
        self._answered = threading.Event()
        self._loop = loop
        self._loop_thread, self._loop_task = threading.get_ident(), threading.get_native_id()
        threading.Thread(target=self._run, name="event loop watchdog", daemon=True).start()

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop, dog: Watchdog) -> _Thread:
        """The thread of a loop, on which this is called, for one more session."""
        with cls._lock:
            thread = cls._of_loop.get(loop)
            if thread is None:
                thread = cls._of_loop[loop] = cls(loop)
            thread.dogs[dog] = None
        return thread

    def _is_watched(self) -> bool:
        return any(dog.watched for dog in list(self.dogs))

    def _ends(self) -> bool:
        """Whether nobody needs the thread any more."""
        with self._lock:
            if self.dogs and not self._loop.is_closed():
                return False
            self._of_loop.pop(self._loop, None)
            return True

    def _run(self) -> None:
        while True:
            if not self.awake.wait(LINGER):
                if self._ends():
                    return
                continue
            time.sleep(BLOCKED / 2)  # first, or each of many short calls would wake this thread
            if not self._is_watched():
                self.awake.clear()
                if not self._is_watched():
                    continue
                self.awake.set()  # one came in between, and saw it still set
            if not self._ask():
                return

    def _ask(self) -> bool:
        """Ask the loop for a sign of life, and name who blocks it where none comes; False when it has ended."""
        self._answered.clear()
        asked, used = time.monotonic(), self._processor_time()
        try:
            self._loop.call_soon_threadsafe(self._answered.set)
        except RuntimeError:
            return not self._ends()
        while not self._answered.wait(BLOCKED) and self._is_starved(used):
            used = self._processor_time()
        if not self._answered.is_set():
            self._name_culprit()
            while not self._answered.wait(1):
                if self._loop.is_closed():
                    return not self._ends()
            logger.warning("the event loop was blocked for %.1f s", time.monotonic() - asked)
        return True

    def _processor_time(self) -> float:
        """Seconds that the loop's thread has computed."""
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(self._loop_thread))
        except (OSError, AttributeError):  # it has ended, or this is macOS
            return 0.0

    def _is_starved(self, used: float) -> bool:
        """Whether the loop's thread would go on, but had next to no processor since then: the machine is busy."""
        if self._processor_time() - used > BLOCKED / 4:
            return False
        try:
            stat = Path(f"/proc/self/task/{self._loop_task}/stat").read_bytes()
        except OSError:
            return False
        return stat.rpartition(b") ")[2].startswith(b"R")

    def _name_culprit(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # pyright: ignore[reportPrivateUsage] documented
        if frame is None:
            return
        logger.error(
            "%s blocks the event loop, and with it everybody else, for more than %.0f ms; it is at:\n%s",
            self._who(frame) or self._task() or "something",
            BLOCKED * 1000,
            "".join(traceback.format_stack(frame, limit=8)),
        )

    def _task(self) -> str | None:
        """The name of the task that runs on the loop."""
        task = asyncio.current_task(self._loop)
        return task.get_name() if task is not None else None

    def _who(self, frame: FrameType) -> str | None:
        """The driver and method on the stack, the innermost of a driver first."""
        at: FrameType | None = frame
        while at is not None:
            owner = at.f_locals.get("self")
            if isinstance(owner, Driver):
                path = next(filter(None, (dog.path_of(owner) for dog in list(self.dogs))), "root")
                return f"{type(owner).__name__}.{at.f_code.co_name} of driver {path}"
            at = at.f_back
        return None
