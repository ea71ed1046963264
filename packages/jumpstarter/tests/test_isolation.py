"""What one driver does is no other's trouble: turns, deadlines, cancellation, and who blocks the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import EndOfStream
from anyio.abc import ObjectStream
from jumpstarter.client import DriverClient
from jumpstarter.client.core import DriverError, DriverTimeout
from jumpstarter.common.limits import DRIVER_QUEUE
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, check_cancelled, export, exportstream, is_cancelled
from jumpstarter.driver import sleep as driver_sleep
from jumpstarter.exporter import worker


class Idler(ObjectStream[bytes]):
    """A device that blocks whoever reads it."""

    async def receive(self) -> bytes:
        time.sleep(0.8)  # noqa: ASYNC251 the fault
        raise EndOfStream

    async def send(self, item: bytes) -> None: ...
    async def send_eof(self) -> None: ...
    async def aclose(self) -> None: ...


class Bench(Driver):
    """Methods that take their time, each in its way; `gate` lets them go."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate = threading.Event()
        self.events: list[str] = []
        self.inside = 0
        self.most = 0

    def _wait(self) -> None:
        assert self.gate.wait(60)

    @export
    def hold(self) -> str:
        self.events.append("hold")
        self._wait()
        return "held"

    @export(timeout=1.0)
    def hold_briefly(self) -> None:
        self._wait()

    @export
    def note(self, text: str) -> None:
        self.events.append(text)

    @export(urgent=True)
    def off(self) -> str:
        self.events.append("off")
        return "off"

    @export(concurrent=True)
    def peek(self) -> str:
        return "peeked"

    @export(concurrent=True)
    async def peek_async(self) -> str:
        return "peeked"

    @export
    async def alone(self) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.01)
        self.inside -= 1
        return self.most

    @export
    def alone_too(self) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.01)
        self.inside -= 1
        return self.most

    @export(timeout=1.0)
    def patient(self) -> None:
        try:
            driver_sleep(10)
        finally:
            self.events.append(f"cancelled={is_cancelled()}")

    @export(timeout=1.0)
    def steps(self) -> None:
        while True:
            time.sleep(0.01)
            check_cancelled()

    @export(timeout=1.0)
    async def wait_async(self) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            self.events.append("cleaned up")

    @export
    def from_thread(self) -> str:
        async def on_the_loop() -> str:
            return threading.current_thread().name

        return anyio.from_thread.run(on_the_loop)

    @export
    async def block_the_loop(self) -> None:
        time.sleep(0.8)  # noqa: ASYNC251 the fault

    @export
    async def block_between_items(self) -> AsyncGenerator[int]:
        yield 1
        time.sleep(0.8)  # noqa: ASYNC251 the fault
        yield 2

    @export
    def ticks(self) -> Generator[int]:
        try:
            for i in range(1000):
                yield i
                time.sleep(0.01)
        finally:
            self.events.append("closed")

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Idler]:
        yield Idler()


class Pair:
    """Two drivers of one exporter, and their clients."""

    def __init__(self, drivers: tuple[Bench, Bench], client: DriverClient) -> None:
        self.driver, self.other_driver = drivers
        self.client, self.other = client.children["one"], client.children["two"]

    def open_gates(self) -> None:
        """Let all methods end."""
        for driver in (self.driver, self.other_driver):
            driver.gate.set()


@pytest.fixture
def pair() -> Generator[Pair]:
    drivers = Bench(), Bench()
    root = Bench(children={"one": drivers[0], "two": drivers[1]})
    with serve(root) as client:
        pair = Pair(drivers, client)
        try:
            yield pair
        finally:
            pair.open_gates()


@pytest.fixture
def pool(pair: Pair) -> Generator[ThreadPoolExecutor]:
    """Threads for calls; none of those calls is left waiting at the end."""
    with ThreadPoolExecutor(DRIVER_QUEUE + 8) as pool:
        try:
            yield pool
        finally:
            pair.open_gates()


def eventually(claim: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def holding(pair: Pair, pool: ThreadPoolExecutor) -> Future[Any]:
    """A call that has the driver until its gate opens."""
    call = pool.submit(pair.client.call, "hold")
    eventually(lambda: "hold" in pair.driver.events)
    return call


def test_a_driver_that_is_busy_does_not_keep_another(pair: Pair, pool: ThreadPoolExecutor) -> None:
    call = holding(pair, pool)
    assert pair.other.call("off") == "off"
    assert not call.done()
    pair.driver.gate.set()
    assert call.result(60) == "held"


def test_plain_and_async_methods_of_a_driver_take_turns(pair: Pair, pool: ThreadPoolExecutor) -> None:
    calls = [pool.submit(pair.client.call, method) for method in ("alone", "alone_too") * 10]
    assert {call.result(60) for call in calls} == {1}


def test_methods_marked_concurrent_need_no_turn(pair: Pair, pool: ThreadPoolExecutor) -> None:
    call = holding(pair, pool)
    assert pair.client.call("peek") == "peeked"
    assert pair.client.call("peek_async") == "peeked"
    assert not call.done()


def test_an_urgent_call_goes_first(pair: Pair, pool: ThreadPoolExecutor) -> None:
    first = holding(pair, pool)
    later = [pool.submit(pair.client.call, "note", str(i)) for i in range(5)]
    time.sleep(0.2)
    urgent = pool.submit(pair.client.call, "off")
    time.sleep(0.2)
    pair.driver.gate.set()
    wait([first, urgent, *later])
    assert pair.driver.events[:2] == ["hold", "off"]
    assert sorted(pair.driver.events[2:]) == ["0", "1", "2", "3", "4"]


def test_too_many_calls_are_refused_but_for_urgent_ones(pair: Pair, pool: ThreadPoolExecutor) -> None:
    call = holding(pair, pool)
    waiting = [pool.submit(pair.client.call, "note", "x") for _ in range(DRIVER_QUEUE)]
    time.sleep(1)
    with pytest.raises(DriverError, match="DRIVER_QUEUE"):
        pair.client.call("note", "too many")
    assert not any(one.done() for one in waiting)
    urgent = pool.submit(pair.client.call, "off")
    pair.driver.gate.set()
    assert (call.result(60), urgent.result(60)) == ("held", "off")
    wait(waiting)


@pytest.mark.parametrize("method", ["patient", "steps", "wait_async"])
def test_a_call_ends_at_its_deadline_and_its_method_is_told(pair: Pair, method: str) -> None:
    start = time.monotonic()
    with pytest.raises(DriverTimeout, match=r"one\.\w+: no result within 1 s"):
        pair.client.call(method)
    assert 1 <= time.monotonic() - start < 8
    assert pair.client.call("off") == "off"
    told = {"patient": "cancelled=True", "wait_async": "cleaned up"}
    if method in told:
        eventually(lambda: told[method] in pair.driver.events)


def test_a_method_that_does_not_end_is_named_and_its_driver_refuses_calls_until_it_does(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "STUCK", 0.1)
    with pytest.raises(DriverTimeout):
        pair.client.call("hold_briefly")
    eventually(lambda: "does not end" in caplog.text)
    [line] = [line for line in caplog.messages if "it is at" in line]
    assert "in hold_briefly" in line and "worker.py" not in line, line
    assert "in hold_briefly" in caplog.text  # where it is
    with pytest.raises(DriverError, match=r"one\.note: .*an earlier call of hold_briefly does not end.*restart"):
        pair.client.call("note", "x")
    assert pair.client.call("off") == "off"  # urgent: beside it
    assert pair.other.call("off") == "off"
    pair.driver.gate.set()
    eventually(lambda: "has ended after all" in caplog.text)
    pair.client.call("note", "y")
    assert pair.driver.events == ["off", "y"]


def test_a_generator_is_closed_in_its_worker_when_nobody_listens(pair: Pair) -> None:
    items = pair.client.streamingcall("ticks")
    assert next(items) == 0
    items.close()
    eventually(lambda: "closed" in pair.driver.events)


def test_a_plain_method_can_use_the_event_loop_through_anyio(pair: Pair) -> None:
    assert isinstance(pair.client.call("from_thread"), str)


@pytest.mark.alone
def test_who_blocks_the_event_loop_is_named(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    pair.client.call("block_the_loop")
    eventually(lambda: "Bench.block_the_loop of driver one blocks the event loop" in caplog.text)
    assert list(pair.client.streamingcall("block_between_items")) == [1, 2]
    eventually(lambda: "Bench.block_between_items of driver one blocks the event loop" in caplog.text)
    with pair.client.stream() as stream, pytest.raises(EndOfStream):
        stream.receive()
    eventually(lambda: "stream connect of driver one blocks the event loop" in caplog.text)


@pytest.mark.alone
def test_nobody_is_named_while_nobody_blocks(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        pair.client.call("alone")
        time.sleep(0.12)
    assert "blocks the event loop" not in caplog.text
