"""Blocking work in a worker thread that is never left behind."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

from anyio import CancelScope, to_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def in_thread(function: Callable[[*Ts], T], *args: *Ts, abort: Callable[[], object] | None = None) -> T:
    """Run a function in a worker thread; when this is cancelled, it ends after the function.

    `abort` is called then, to make a function end that waits for something.

    anyio's own shield does not hold against the cancellation of a task by asyncio, which is how gRPC ends a call.
    """
    work = asyncio.ensure_future(to_thread.run_sync(function, *args))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if abort is not None:
            abort()
        with CancelScope(shield=True):
            while not work.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # nobody is there to see it
        raise
