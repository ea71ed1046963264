"""The items of a generator on their way to a client: it goes on while the ones before are being sent.

So items that come quickly are sent together, and one that comes alone is sent at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

from anyio import CancelScope

from ..common.limits import BATCH_ITEMS, BATCH_TIME
from ..driver.calls import Call, running
from ..driver.decorators import Options
from .threads import told
from .worker import Worker


class Ahead:
    """Items that are ready, between one task that produces them and one that sends them."""

    def __init__(self) -> None:
        self._ready: list[Any] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._told = False
        self._taken = asyncio.Event()
        self._producer: asyncio.Task[BaseException | None] | None = None

    def put(self, item: Any) -> None:
        """Add an item; on the event loop."""
        self._ready.append(item)
        self._changed.set()

    def put_from_thread(self, item: Any) -> None:
        """Add an item; from a thread."""
        self._ready.append(item)
        if not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._changed.set)

    @property
    def is_full(self) -> bool:
        """Whether the items have to be sent before there are more."""
        return len(self._ready) >= BATCH_ITEMS

    async def room(self) -> None:
        """Wait until there is room for more."""
        while self.is_full:
            self._taken.clear()
            await self._taken.wait()

    @asynccontextmanager
    async def producing(self, producer: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
        """Run what puts the items meanwhile; cancelled, and waited for, at the end."""
        task = self._producer = asyncio.create_task(_outcome(producer), name="items")
        task.add_done_callback(lambda _: self._changed.set())
        try:
            yield
        finally:
            if not task.done():
                task.cancel()
                with CancelScope(shield=True):
                    await asyncio.wait([task])

    async def batches(self) -> AsyncGenerator[list[Any]]:
        """The items, those together that are there together. Raises what the producer raised, after them."""
        task = self._producer
        assert task is not None
        while True:
            if not self._ready:
                if task.done():
                    break
                self._changed.clear()
                self._told = False
                if not self._ready:
                    await self._changed.wait()
                continue
            batch = self._ready[:BATCH_ITEMS]
            del self._ready[: len(batch)]
            self._taken.set()
            yield batch
        if (error := task.result()) is not None:
            raise error


async def _outcome(producer: Coroutine[Any, Any, None]) -> BaseException | None:
    """What a producer raised: a task that raises SystemExit itself would end the event loop."""
    try:
        await producer
    except BaseException as e:  # noqa: BLE001 raised by who reads the items
        return told(e)
    return None


async def iterate(call: Call, items: AsyncGenerator[Any], ahead: Ahead) -> None:
    """Put the items of an asynchronous generator, which is closed at the end."""
    running.set(call)
    async with aclosing(items):
        async for item in items:
            ahead.put(item)
            if ahead.is_full:
                await ahead.room()


class Steps:
    """A plain generator, which advances in its driver's worker."""

    def __init__(self, start: Callable[[], Any], ahead: Ahead) -> None:
        self._start = start
        self._ahead = ahead
        self._iterator: Any = None
        self._ended = self._advancing = False
        self._error: BaseException | None = None

    async def run(self, worker: Worker, call: Call, options: Options) -> None:
        """Put the items; other calls of the driver have their turns in between."""
        try:
            while not self._ended:
                await worker.run(
                    call,
                    self._advance,
                    concurrent=options.concurrent,
                    urgent=options.urgent,
                    abandoned=self._close,
                )
                if self._ahead.is_full:
                    await self._ahead.room()
            if self._error is not None:
                raise self._error
        finally:
            if self._iterator is not None and not self._ended and not self._advancing:
                with CancelScope(shield=True):
                    await worker.finish(Call(call.driver, call.method), self._close)

    def _advance(self) -> None:
        """Put the next items: one, and those that come within a moment. Notes the error that ends them."""
        self._advancing = True
        try:
            if self._iterator is None:
                self._iterator = iter(self._start())
            until = time.monotonic() + BATCH_TIME
            for item in self._iterator:
                self._ahead.put_from_thread(item)
                if self._ahead.is_full or time.monotonic() > until:
                    break
            else:
                self._ended = True
        except BaseException as e:  # noqa: BLE001 raised after the items before it
            self._ended, self._error = True, e
        self._advancing = False

    def _close(self) -> None:
        """End the generator early."""
        self._ended = True
        if (close := getattr(self._iterator, "close", None)) is not None:
            close()
