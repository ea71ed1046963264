"""gRPC's reads and writes of one stream call, each in a task of its own.

Such an await must not be cancelled: grpcio's futures break, or the whole call ends. So callers never await one. They
exchange messages with two tasks, which end when the call does, and may themselves be cancelled at any time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Any, Protocol

import grpc

from .frames import Frame

AHEAD = 2
"""Messages that are read before somebody asks, and that wait to be written, at most."""


class Call(Protocol):
    """What a client's stream call and a servicer's context have in common."""

    def read(self) -> Awaitable[Any]: ...
    def write(self, message: Any, /) -> Awaitable[None]: ...


class Slots:
    """A bounded queue between a caller and a task; whichever comes first waits, and `error` wakes both."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.error: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:  # nobody woke it: the caller was cancelled
                self._waiters.remove(waiter)

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self.wake()


class Reader:
    """Reads messages ahead of its callers."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._slots = Slots()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_started(self) -> bool:
        """Whether messages are read ahead; then nobody else may read."""
        return self._task is not None

    async def read(self) -> Any:
        """The next message, grpc.aio.EOF at the end of the call; raises what the call raised."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="router stream: read")
        slots = self._slots
        while not slots.items:
            if slots.error is not None:
                raise slots.error
            await slots.changed()
        message = slots.items.popleft()
        if len(slots.items) == AHEAD - 1:
            slots.wake()
        return message

    async def _run(self) -> None:
        slots, read = self._slots, self._call.read
        try:
            while True:
                message = await read()
                slots.items.append(message)
                if len(slots.items) == 1:
                    slots.wake()
                if message is grpc.aio.EOF:
                    return
                while len(slots.items) >= AHEAD and slots.error is None:
                    await slots.changed()
        except asyncio.CancelledError:
            slots.fail(ConnectionAbortedError("the stream was cancelled"))
        except Exception as e:  # noqa: BLE001 raised by the callers of read
            slots.fail(e)

    def stop(self) -> None:
        """Read no further; a read that waits ends with the call."""
        self._slots.fail(ConnectionAbortedError("the stream is closed"))


class Writer:
    """Writes frames in order, a few behind its callers."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._slots = Slots()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_started(self) -> bool:
        """Whether frames may be waiting; then nobody else may write."""
        return self._task is not None

    async def write(self, frame: Frame | None) -> None:
        """Take a frame for writing, None to half-close; waits while AHEAD wait. Raises what an earlier one raised."""
        slots = self._slots
        while len(slots.items) >= AHEAD and slots.error is None:
            await slots.changed()
        if slots.error is not None:
            raise slots.error
        slots.items.append(frame)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="router stream: write")
        elif len(slots.items) == 1:
            slots.wake()

    async def finish(self) -> None:
        """Half-close after what was written, where the call is a client's; returns when all is written."""
        if hasattr(self._call, "done_writing"):
            await self.write(None)
        slots = self._slots
        while slots.items and slots.error is None:
            await slots.changed()
        if slots.error is not None:
            raise slots.error

    async def _run(self) -> None:
        slots, write = self._slots, self._call.write
        half_close: Any = getattr(self._call, "done_writing", None)
        try:
            while slots.error is None:
                if not slots.items:
                    await slots.changed()
                    continue
                item: Frame | None = slots.items[0]
                if item is None:
                    await half_close()
                else:
                    await write(item)
                slots.items.popleft()
                slots.wake()
        except asyncio.CancelledError:
            slots.fail(ConnectionAbortedError("the stream was cancelled"))
        except Exception as e:  # noqa: BLE001 raised by the callers of write
            slots.fail(e)

    def stop(self) -> None:
        """Write no further; a write that waits ends with the call."""
        self._slots.fail(ConnectionAbortedError("the stream is closed"))
