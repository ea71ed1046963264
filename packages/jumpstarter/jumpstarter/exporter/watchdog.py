"""Names the driver that blocks the event loop, on which everybody else waits.

A thread asks the loop for a sign of life now and then, as long as coroutines of drivers run there. When it gets none,
it looks at where the loop's thread is.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

from ..common.limits import BLOCKED
from ..driver.base import Driver

logger = logging.getLogger(__name__)


class Watchdog:
    """Watches the event loop on which `begin` is called. Its thread sleeps while nothing is watched."""

    def __init__(self, path_of: Callable[[Driver], str]) -> None:
        self._path_of = path_of
        self._watched = 0
        self._awake = threading.Event()
        self._answered = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self) -> None:
        """Watch the loop until as many `end`s have come."""
        self._watched += 1
        if not self._awake.is_set():
            self._wake()

    def end(self) -> None:
        """One reason less to watch."""
        self._watched -= 1

    def close(self) -> None:
        """Let the thread end."""
        self._closed = True
        self._awake.set()

    def _wake(self) -> None:
        if self._thread is None:
            self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
            self._thread = threading.Thread(target=self._run, name="event loop watchdog", daemon=True)
            self._thread.start()
        self._awake.set()

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        while True:
            self._awake.wait()
            if self._closed:
                return
            time.sleep(BLOCKED / 2)  # first, or each of many short calls would wake this thread
            if not self._watched:
                self._awake.clear()
                if not self._watched and not self._closed:
                    continue
                self._awake.set()  # one came in between, and saw it still set
            self._answered.clear()
            asked = time.monotonic()
            try:
                loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop has ended
                return
            if not self._answered.wait(BLOCKED):
                self._name_culprit()
                while not self._answered.wait(1):
                    if loop.is_closed():
                        return
                logger.warning("the event loop was blocked for %.1f s", time.monotonic() - asked)

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
                return f"{type(owner).__name__}.{at.f_code.co_name} of driver {self._path_of(owner) or 'root'}"
            at = at.f_back
        return None
