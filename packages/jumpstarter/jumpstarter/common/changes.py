"""Waiting for state to change that has one owner."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until the first of some functions returns; the others are cancelled."""
    from anyio import create_task_group  # not what `Changes` needs, and slow to import

    async with create_task_group() as tasks:

        async def end_all(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            tasks.cancel_scope.cancel()

        for wait in waits:
            tasks.start_soon(end_all, wait)


class Changes:
    """What the owner of some state calls when it has changed, from any thread, and tasks and threads wait for."""

    def __init__(self) -> None:
        self._lock = threading.Condition(threading.Lock())
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def notify(self) -> None:
        """Let everybody who waits look again."""
        with self._lock:
            waiters, self._waiters = self._waiters, set()
            self._lock.notify_all()
        here = _running_loop() if waiters else None
        for loop, event in waiters:
            if loop is here:
                event.set()
                continue
            with suppress(RuntimeError):  # the loop has ended, and who waited on it
                loop.call_soon_threadsafe(event.set)  # anyio's own way needs one of its threads

    async def until(self, condition: Callable[[], T]) -> T:
        """The first true result, looked for now and after every change."""
        loop = asyncio.get_running_loop()
        while True:
            waiter = (loop, asyncio.Event())
            with self._lock:
                self._waiters.add(waiter)  # before looking, so that no change can be missed
            try:
                if result := condition():
                    return result
                await waiter[1].wait()
            finally:
                with self._lock:
                    self._waiters.discard(waiter)

    def wait_for(self, condition: Callable[[], T], timeout: float | None) -> T:
        """The same in a thread: the first true result, or the last one after `timeout` seconds."""
        with self._lock:
            return self._lock.wait_for(condition, timeout)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
