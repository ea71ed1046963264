"""How a call of a driver's method is run: in the driver's worker, in time, and its items in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from ..common.limits import STUCK
from ..driver.base import Driver
from ..driver.calls import Call, running
from ..driver.decorators import Options
from ..driver.table import ExportedMethod
from .deadlines import Deadlines
from .items import Ahead, Steps, iterate
from .threads import raise_told, told
from .watchdog import Watchdog
from .worker import Worker

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Calls:
    """Runs the methods of a session's drivers."""

    def __init__(self, path_of: Callable[[Driver], str]) -> None:
        self._path_of = path_of
        self._workers: dict[UUID, Worker] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchdog = Watchdog(path_of)
        self._deadlines = Deadlines()

    def begin(self) -> None:
        """Note the event loop on which calls are made, from now on."""
        self._loop = asyncio.get_running_loop()

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

    async def call(self, driver: Driver, method: ExportedMethod, arguments: Arguments) -> Any:
        """The result of a method. Raises CallTimeoutError when its time is over, and what the method raises."""
        args, kwargs = arguments
        options, call = _options(driver, method), Call(driver, method.name)
        function = partial(method.function, *args, **kwargs)
        worker = self.worker(driver)
        with self._deadlines.within(options.timeout or driver.call_timeout):
            if not method.is_async:
                return await worker.run(call, function, concurrent=options.concurrent, urgent=options.urgent)
            self._watchdog.begin()
            try:
                return await worker.run_async(call, function, concurrent=options.concurrent, urgent=options.urgent)
            except BaseException as e:
                raise_told(e)
                raise
            finally:
                self._watchdog.end()

    async def batches(self, driver: Driver, method: ExportedMethod, arguments: Arguments) -> AsyncGenerator[list[Any]]:
        """The items of a generator, those together that are there together. It ends when this one is closed."""
        args, kwargs = arguments
        call, options, ahead = Call(driver, method.name), _options(driver, method), Ahead()
        if not method.is_async:
            steps = Steps(partial(method.function, *args, **kwargs), ahead)
            async with ahead.producing(steps.run(self.worker(driver), call, options)):
                async for batch in ahead.batches():
                    yield batch
            return
        self._watchdog.begin()
        try:
            async with ahead.producing(iterate(call, method.function(*args, **kwargs), ahead)):
                async for batch in ahead.batches():
                    yield batch
        finally:
            call.cancel()
            self._watchdog.end()

    @asynccontextmanager
    async def stream(self, driver: Driver, method: ExportedMethod) -> AsyncGenerator[Any]:
        """The byte stream that a method opens; the event loop is watched meanwhile."""
        running.set(Call(driver, method.name))
        self._watchdog.begin()
        try:
            async with method.function(driver) as device:
                yield device
        except BaseException as e:
            raise_told(e)
            raise
        finally:
            self._watchdog.end()

    @contextmanager
    def turn(self, driver: Driver, what: str) -> Generator[None]:
        """The turn of a driver, for another thread than the event loop's: no call of it runs meanwhile.

        Where it takes long, urgent calls do not wait for its end. Raises DriverStuckError while a call does not end.
        """
        loop, call = self._loop, Call(driver, what)
        if loop is None:  # nobody makes calls yet
            yield
            return

        async def take() -> Worker:
            worker = self.worker(driver)
            await worker.take(call)
            loop.call_later(STUCK, worker.overtake, call, f"its {what} takes long")
            return worker

        worker = asyncio.run_coroutine_threadsafe(take(), loop).result()
        try:
            yield
        finally:
            with suppress(RuntimeError):  # the loop has ended, and all calls with it
                loop.call_soon_threadsafe(worker.give, call)

    async def exclusively(self, drivers: Sequence[Driver], what: str, function: Callable[[], Any]) -> None:
        """Run a function in the first driver's worker while none of the others' methods run."""
        first, *others = drivers
        held: list[tuple[Worker, Call]] = []

        def let_go(_: object) -> None:
            for worker, call in held:
                worker.give(call)

        try:
            # one order, or two of these lock each other
            for driver in [*sorted(others, key=lambda driver: driver.uuid), first]:
                worker, call = self.worker(driver), Call(driver, what)
                await worker.take(call)
                held.append((worker, call))
        except BaseException:
            let_go(None)
            raise
        worker, call = held[-1]
        job = asyncio.create_task(worker.outcome(call, function))
        job.add_done_callback(let_go)
        _, error = await asyncio.shield(job)  # it goes on when the caller does not
        if error is not None:
            raise told(error)


def _options(driver: Driver, method: ExportedMethod) -> Options:
    """How calls of a method of this driver are run."""
    return replace(method.options, concurrent=True) if driver.concurrent_calls else method.options
