"""Threads that run the plain functions of drivers, and the forms in which their errors are told."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from ..driver.calls import Call, CallCancelled, running


class Job(NamedTuple):
    """A function for a thread, and whom to tell of its outcome."""

    call: Call
    function: Callable[[], Any]
    abandoned: Callable[[], Any] | None
    done: Callable[[Any, BaseException | None], None]
    loop: asyncio.AbstractEventLoop


class JobThread:
    """A thread that runs one job after the other. It is one of anyio's, so drivers may use `anyio.from_thread`."""

    def __init__(self, name: str) -> None:
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.has_failed = False
        """There is no such thread: the system had none left."""

        self._name = name
        self._ident = 0
        # kept, or it could be collected; it ends with the thread, or with the event loop
        self._host = asyncio.create_task(
            run_sync(self._run, abandon_on_cancel=True, limiter=CapacityLimiter(1)), name=name
        )
        self._host.add_done_callback(self._ended)

    def stack(self) -> str:
        """Where in the driver's code it is now, the innermost frame last."""
        frame = sys._current_frames().get(self._ident)  # pyright: ignore[reportPrivateUsage] documented
        if frame is None:
            return ""
        frames = traceback.extract_stack(frame)
        ours = [number for number, entry in enumerate(frames, 1) if entry.filename == __file__]
        return "".join(traceback.format_list(frames[max(ours, default=0) :] or frames))

    def _ended(self, host: asyncio.Task[None]) -> None:
        """Let the job fail for which no thread could be started."""
        if not host.cancelled() and (error := host.exception()) is not None:
            self.has_failed = True
            while not self.jobs.empty():
                if (job := self.jobs.get_nowait()) is not None:
                    job.done(None, error)

    def _run(self) -> None:
        thread = threading.current_thread()
        self._ident, before, thread.name = thread.ident or 0, thread.name, self._name
        while (job := self.jobs.get()) is not None:
            running.set(job.call)
            result, error = _outcome(job.function) if not job.call.cancelled else (None, CallCancelled())
            if job.call.cancelled and job.abandoned is not None:
                _, closing = _outcome(job.abandoned)
                error = error or closing
            running.set(None)
            with suppress(RuntimeError):  # the loop has ended, and whoever waited with it
                job.loop.call_soon_threadsafe(job.done, result, error)
            del job, result, error
        thread.name = before


def told(error: BaseException) -> BaseException:
    """What a driver raised, in a form with which its call can fail.

    What Python ends generators with, or is no Exception, would end the task of the call without a word to its client;
    so would a CancelledError that is the driver's own, where nobody has cancelled the task.
    """
    ends = StopIteration | StopAsyncIteration | GeneratorExit
    passes = Exception | SystemExit | KeyboardInterrupt | BaseExceptionGroup | asyncio.CancelledError
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        is_own = task is not None and not task.cancelling()
    else:
        is_own = isinstance(error, ends)
    if isinstance(error, passes) and not is_own:
        return error
    plain = RuntimeError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    plain.__cause__ = error
    return plain


def raise_told(error: BaseException) -> None:
    """Raise the form in which an error of a coroutine is told, where it is another one; not while it is closed."""
    if not isinstance(error, GeneratorExit) and (plain := told(error)) is not error:
        raise plain from error


def _outcome(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What a function returns or raises, SystemExit included: it must not end the thread."""
    try:
        return function(), None
    except asyncio.CancelledError as e:  # the driver's own affair: its caller's task was not cancelled
        return None, RuntimeError(f"CancelledError: {e}" if str(e) else "CancelledError")
    except BaseException as e:  # noqa: BLE001 raised by who waits
        return None, e
