"""The process's one event loop for code without one, started when something async is first used."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

    from anyio.from_thread import BlockingPortal

T = TypeVar("T")


class Portal(Protocol):
    """What blocking code needs of an event loop in another thread; anyio's BlockingPortal is one."""

    def call(self, func: Callable[..., Any], *args: Any) -> Any: ...
    def start_task_soon(self, func: Callable[..., Any], *args: Any, name: object = None) -> Any: ...
    def wrap_async_context_manager(self, cm: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]: ...


_lock = threading.Lock()
_shared: BlockingPortal | None = None


def shared_portal() -> BlockingPortal:
    """The portal of the process. Its event loop starts here and runs until the interpreter ends.

    All async gRPC of a process lives on this one loop, since gRPC's poller serves only one at a time well.
    """
    global _shared
    with _lock:
        if _shared is None:
            from anyio.from_thread import start_blocking_portal

            running = start_blocking_portal("asyncio")
            _shared = running.__enter__()
            atexit.register(_stop, running, _shared)
        return _shared


def _stop(running: AbstractContextManager[BlockingPortal], portal: BlockingPortal) -> None:
    """End the loop with whatever still runs on it: nobody can use that any more."""
    with suppress(RuntimeError):  # it has ended
        portal.call(portal.stop, True)
    running.__exit__(None, None, None)


def _forget() -> None:
    """Threads do not survive a fork, and a loop without its thread is none."""
    global _shared, _lock
    _shared, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


WAKE = 0.5
"""Seconds after which who waits looks for a signal that came right before the wait, and so did not end it."""


def awaited(future: Future[T]) -> T:
    """The result of a future, waited for piece by piece; see WAKE."""
    while True:
        try:
            return future.result(WAKE)
        except TimeoutError:
            if future.done():  # with an error of that kind, or just now
                return future.result()


class LazyPortal:
    """The process's portal, whose event loop starts with the first call."""

    def call(self, func: Callable[..., Any], *args: Any) -> Any:
        """Run a function on the loop and wait for its result."""
        return awaited(shared_portal().start_task_soon(func, *args))

    def start_task_soon(self, func: Callable[..., Any], *args: Any, name: object = None) -> Any:
        """Start a function on the loop; returns a concurrent Future, whose `cancel` cancels it."""
        return shared_portal().start_task_soon(func, *args, name=name)

    def wrap_async_context_manager(self, cm: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """A blocking context manager that is entered and left on the loop, in one task."""
        return shared_portal().wrap_async_context_manager(cm)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(shared_portal(), name)


@contextmanager
def entered(portal: Portal, cm: AbstractAsyncContextManager[T], patience: float) -> Generator[T]:
    """An asynchronous context manager for blocking code.

    As `wrap_async_context_manager`, but quicker, and what interrupts the waiting for it to be entered cancels it, and
    waits up to `patience` seconds until all is undone.
    """
    from concurrent.futures import Future, wait

    opened: Future[tuple[T, Callable[[], object]]] = Future()

    async def run() -> None:
        from asyncio import Event, get_running_loop

        async with cm as value:
            closing = Event()
            opened.set_result((value, partial(get_running_loop().call_soon_threadsafe, closing.set)))
            await closing.wait()

    def ended(done: Future[None]) -> None:
        if not opened.done():
            error = None if done.cancelled() else done.exception()
            opened.set_exception(error or RuntimeError("it ended before it began"))

    running: Future[None] = portal.start_task_soon(run)
    running.add_done_callback(ended)
    try:
        value, close = awaited(opened)
    except BaseException:
        running.cancel()
        wait([running], patience)
        raise
    try:
        yield value
    finally:
        with suppress(RuntimeError):  # the loop has ended, and that with it
            close()
        awaited(running)
