"""Turns of a worker: nobody keeps one that is gone, and nothing starts for who is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, asynccontextmanager, suppress

import pytest
from anyio import fail_after
from jumpstarter.common.exceptions import DriverStuckError, LimitError
from jumpstarter.common.limits import DRIVER_QUEUE
from jumpstarter.driver import Driver, export
from jumpstarter.driver.calls import Call
from jumpstarter.driver.table import exported_methods
from jumpstarter.exporter import worker as module
from jumpstarter.exporter.calls import Calls
from jumpstarter.exporter.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Bench(Driver):
    """A driver whose plain methods wait for a gate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate = threading.Event()
        self.events: list[str] = []

    @export
    def hold(self) -> None:
        self.events.append("hold")
        assert self.gate.wait(60)

    @export(concurrent=True)
    def look(self) -> None:
        self.events.append("look")
        assert self.gate.wait(60)

    @export
    def count(self) -> Generator[int]:
        try:
            yield from range(1_000_000)
        finally:
            self.events.append("closing")
            assert self.gate.wait(60)

    @export
    async def go_on(self) -> None:
        while not self.gate.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    @export(urgent=True)
    def off(self) -> str:
        self.events.append("off")
        return "off"

    @export
    def cancels(self) -> None:
        raise asyncio.CancelledError


@asynccontextmanager
async def bench() -> AsyncGenerator[tuple[Bench, Calls]]:
    """A driver, and how its methods are called; its gate is opened at the end."""
    driver, calls = Bench(), Calls(lambda _: "bench")
    try:
        yield driver, calls
    finally:
        driver.gate.set()
        with fail_after(60):
            await calls.settle()
        calls.close()


def start(calls: Calls, driver: Bench, name: str) -> asyncio.Task[object]:
    return asyncio.create_task(calls.call(driver, exported_methods(Bench)[name], ((driver,), {})))


async def until(claim: Callable[[], object]) -> None:
    with fail_after(60):
        while not claim():  # noqa: ASYNC110 threads and the event loop change it
            await asyncio.sleep(0.001)


async def ended(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK", 0.1)


@pytest.mark.parametrize("cycles", range(1, 6))
async def test_a_call_that_is_cancelled_at_any_moment_leaves_the_turn(cycles: int) -> None:
    async with bench() as (driver, calls):
        driver.gate.set()
        before, task, after = (start(calls, driver, "hold") for _ in range(3))
        for _ in range(cycles):
            await asyncio.sleep(0)
        await ended(task)
        with fail_after(60):
            await before
            await after
        assert calls.worker(driver).is_idle


async def test_a_turn_that_comes_at_the_moment_of_a_cancellation_goes_on_to_the_next() -> None:
    worker, first, second, third = Worker("bench"), *(Call(None, name) for name in "abc")
    await worker.take(first)
    waiting = asyncio.create_task(worker.take(second))
    last = asyncio.create_task(worker.take(third))
    await asyncio.sleep(0)
    worker.give(first)
    waiting.cancel()
    with fail_after(60):
        await last
    worker.give(third)
    assert worker.is_idle


async def test_an_urgent_call_that_waits_when_its_driver_gets_stuck_runs_beside(quick: None) -> None:
    async with bench() as (driver, calls):
        stuck = start(calls, driver, "hold")
        await until(lambda: driver.events)
        urgent, plain = start(calls, driver, "off"), start(calls, driver, "hold")
        await ended(stuck)
        with fail_after(60):
            assert await urgent == "off"
            with pytest.raises(DriverStuckError):
                await plain


async def test_a_coroutine_that_goes_on_when_it_is_cancelled_is_stuck_too(quick: None) -> None:
    async with bench() as (driver, calls):
        task = start(calls, driver, "go_on")
        await asyncio.sleep(0.02)
        urgent, plain = start(calls, driver, "off"), start(calls, driver, "hold")
        task.cancel()
        with fail_after(60):
            assert await urgent == "off"
            with pytest.raises(DriverStuckError, match="go_on"):
                await plain
            driver.gate.set()
            await task
            await start(calls, driver, "hold")


async def test_a_generator_that_does_not_close_is_named_and_its_driver_refuses_calls(quick: None) -> None:
    async with bench() as (driver, calls):

        async def read_one() -> None:
            async with aclosing(calls.batches(driver, exported_methods(Bench)["count"], ((driver,), {}))) as batches:
                async for _ in batches:
                    return

        task = asyncio.create_task(read_one())
        await until(lambda: "closing" in driver.events)
        with fail_after(60), pytest.raises(DriverStuckError, match="count"):
            await start(calls, driver, "hold")
        driver.gate.set()
        await task


async def test_a_generator_that_never_began_waits_for_nobody_when_it_is_cancelled() -> None:
    async with bench() as (driver, calls):
        holding = start(calls, driver, "hold")
        await until(lambda: driver.events)

        async def read() -> None:
            async with aclosing(calls.batches(driver, exported_methods(Bench)["count"], ((driver,), {}))) as batches:
                async for _ in batches:
                    pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.02)
        task.cancel()
        _, pending = await asyncio.wait([task], timeout=1)
        assert not pending
        assert not holding.done()
        driver.gate.set()
        await holding


async def test_concurrent_calls_whose_callers_go_do_not_make_ever_more_threads() -> None:
    async with bench() as (driver, calls):
        for count in range(1, DRIVER_QUEUE + 1):
            task = start(calls, driver, "look")
            await until(lambda count=count: len(driver.events) == count)
            await ended(task)
        with pytest.raises(LimitError):
            await start(calls, driver, "look")
        assert await start(calls, driver, "off") == "off"


async def test_a_reset_that_is_cancelled_while_it_waits_never_happens() -> None:
    async with bench() as (driver, calls):
        done: list[bool] = []
        holding = start(calls, driver, "hold")
        await until(lambda: driver.events)
        reset = asyncio.create_task(calls.exclusively([driver, Bench()], "reset", lambda: done.append(True)))
        await asyncio.sleep(0.02)
        reset.cancel()
        await asyncio.wait([reset], timeout=5)
        driver.gate.set()
        await holding
        with fail_after(60):
            await calls.settle()
        assert not done


async def test_a_plain_method_that_raises_a_cancellation_fails() -> None:
    async with bench() as (driver, calls):
        with fail_after(60), pytest.raises(RuntimeError, match="CancelledError"):
            await start(calls, driver, "cancels")


async def test_a_call_fails_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with bench() as (driver, calls):
        with monkeypatch.context() as patch, fail_after(60), pytest.raises(RuntimeError, match="new thread"):
            patch.setattr(threading.Thread, "start", refuse)
            await start(calls, driver, "off")
        assert await start(calls, driver, "off") == "off"
