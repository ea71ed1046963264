"""How a call of a driver's method is run: in the driver's worker, in time, and its items in batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

from anyio import CancelScope

from ..common.exceptions import CallTimeoutError
from ..common.limits import BATCH_ITEMS, BATCH_TIME
from ..driver.base import Driver
from ..driver.calls import Call, running
from ..driver.table import ExportedMethod
from .watchdog import Watchdog
from .worker import Worker

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Calls:
    """Runs the methods of a session's drivers."""

    def __init__(self, path_of: Callable[[Driver], str]) -> None:
        self._path_of = path_of
        self._workers: dict[UUID, Worker] = {}
        self._watchdog = Watchdog(path_of)

    def worker(self, driver: Driver) -> Worker:
        """The worker of a driver, made when it is first needed."""
        worker = self._workers.get(driver.uuid)
        if worker is None:
            worker = self._workers[driver.uuid] = Worker(self._path_of(driver) or "root")
        return worker

    async def settle(self) -> None:
        """Wait until no worker is busy."""
        for worker in list(self._workers.values()):
            await worker.settle()

    def close(self) -> None:
        """Let the workers' threads end."""
        for worker in self._workers.values():
            worker.close()
        self._watchdog.close()

    async def run(self, driver: Driver, what: str, function: Callable[[], Any], *, urgent: bool = False) -> Any:
        """Run a plain function of a driver in its worker; `what` is its name in messages."""
        return await self.worker(driver).run(Call(driver, what), function, urgent=urgent)

    async def call(self, driver: Driver, method: ExportedMethod, arguments: Arguments) -> Any:
        """The result of a method. Raises CallTimeoutError when its time is over, and what the method raises."""
        args, kwargs = arguments
        options, call = method.options, Call(driver, method.name)
        function = partial(method.function, *args, **kwargs)
        worker = self.worker(driver)
        with _Deadline(options.timeout or driver.call_timeout):
            if not method.is_async:
                return await worker.run(call, function, concurrent=options.concurrent, urgent=options.urgent)
            self._watchdog.begin()
            try:
                return await worker.run_async(call, function, concurrent=options.concurrent, urgent=options.urgent)
            finally:
                self._watchdog.end()

    async def batches(self, driver: Driver, method: ExportedMethod, arguments: Arguments) -> AsyncGenerator[list[Any]]:
        """The items of a generator, those together that are there together. It ends when this one is closed."""
        args, kwargs = arguments
        call = Call(driver, method.name)
        if method.is_async:
            self._watchdog.begin()
            try:
                async with aclosing(_run_ahead(call, method.function(*args, **kwargs))) as batches:
                    async for batch in batches:
                        yield batch
            finally:
                self._watchdog.end()
            return
        steps = _Steps(lambda: iter(method.function(*args, **kwargs)))
        worker, options = self.worker(driver), method.options
        try:
            while not steps.ended:
                batch = await worker.run(
                    call, steps.advance, concurrent=options.concurrent, urgent=options.urgent, abandoned=steps.close
                )
                if batch:
                    yield batch
                if steps.error is not None:
                    raise steps.error
        finally:
            if not steps.ended and not steps.advancing:
                with CancelScope(shield=True):
                    await worker.run(Call(driver, method.name), steps.close, urgent=True)

    @asynccontextmanager
    async def stream(self, driver: Driver, method: ExportedMethod) -> AsyncGenerator[Any]:
        """The byte stream that a method opens; the event loop is watched meanwhile."""
        running.set(Call(driver, method.name))
        self._watchdog.begin()
        try:
            async with method.function(driver) as device:
                yield device
        finally:
            self._watchdog.end()

    async def exclusively(self, drivers: Sequence[Driver], what: str, function: Callable[[], Any]) -> None:
        """Run a function in the first driver's worker while none of the others' methods run."""
        first, *others = drivers
        held: list[tuple[Worker, Call]] = []

        def let_go(_: object) -> None:
            for worker, call in held:
                worker.give(call)

        try:
            for driver in sorted(others, key=lambda driver: driver.uuid):  # one order, or two of these lock each other
                worker, call = self.worker(driver), Call(driver, what)
                await worker.take(call)
                held.append((worker, call))
        except BaseException:
            let_go(None)
            raise
        job = asyncio.create_task(self.worker(first).outcome(Call(first, what), function))
        job.add_done_callback(let_go)
        _, error = await asyncio.shield(job)  # it goes on when the caller does not
        if error is not None:
            raise error


class _Deadline:
    """Cancels the task inside after some seconds, and makes a CallTimeoutError of it.

    What asyncio.timeout does, in a third of its time, which every call has to spend.
    """

    __slots__ = ("_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> None:
        self._task: Any = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        if self._expired and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise CallTimeoutError(f"no result within {self._seconds:g} s") from None


class _Steps:
    """A plain generator that advances in a thread, some items at a time."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start
        self._iterator: Any = None
        self.ended = self.advancing = False
        self.error: BaseException | None = None

    def advance(self) -> list[Any]:
        """The next items: those that come within a moment. Notes the error that comes after them."""
        self.advancing = True
        items: list[Any] = []
        try:
            if self._iterator is None:
                self._iterator = self._start()
            until = time.monotonic() + BATCH_TIME
            for item in self._iterator:
                items.append(item)
                if len(items) >= BATCH_ITEMS or time.monotonic() > until:
                    break
            else:
                self.ended = True
        except BaseException as e:  # noqa: BLE001 raised after the items before it
            self.ended, self.error = True, e
        self.advancing = False
        return items

    def close(self) -> None:
        """End the generator early."""
        self.ended = True
        if (close := getattr(self._iterator, "close", None)) is not None:
            close()


async def _run_ahead(call: Call, items: AsyncGenerator[Any]) -> AsyncGenerator[list[Any]]:
    """The items of an asynchronous generator, which goes on while the ones before are on their way to the client."""
    ready: list[Any] = []
    changed = asyncio.Event()
    failure: list[BaseException] = []

    async def produce() -> None:
        running.set(call)
        try:
            async with aclosing(items):
                async for item in items:
                    ready.append(item)
                    changed.set()
                    while len(ready) >= BATCH_ITEMS:
                        taken.clear()
                        await taken.wait()
        except BaseException as e:  # noqa: BLE001 raised by who reads the items
            failure.append(e)

    taken = asyncio.Event()
    producer = asyncio.create_task(produce(), name=f"items of {call.method}")
    producer.add_done_callback(lambda _: changed.set())
    try:
        while True:
            if not ready and not producer.done():
                changed.clear()
                await changed.wait()
            if ready:
                batch = ready[:]
                ready.clear()
                taken.set()
                yield batch
            elif producer.done():
                break
        if failure:
            raise failure[0]
    finally:
        if not producer.done():
            call.cancel()
            producer.cancel()
            with CancelScope(shield=True):
                await asyncio.wait([producer])
