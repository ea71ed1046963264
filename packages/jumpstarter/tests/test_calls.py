"""Calls and streamed calls over a real socket."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from jumpstarter.client import DriverClient
from jumpstarter.client.core import (
    DriverError,
    DriverInvalidArgument,
    DriverMethodNotImplemented,
    DriverTimeout,
)
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb


class Sample(Driver):
    """One method of each kind."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.closed = threading.Event()
        self.arrived = threading.Event()
        self.running = 0
        self.most = 0

    @export
    def add(self, a: int, b: int = 2) -> int:
        return a + b

    @export
    async def add_async(self, a: int, b: int = 2) -> int:
        return a + b

    @export
    def kind(self, value: Any) -> str:
        return type(value).__name__

    @export
    def sum(self, *numbers: int) -> int:
        return sum(numbers)

    @export
    def thread(self) -> str:
        return threading.current_thread().name

    @export
    def alone(self) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        threading.Event().wait(0.01)
        self.running -= 1
        return self.most

    @export
    def count(self, n: int) -> Generator[int]:
        try:
            yield from range(n)
        finally:
            self.closed.set()

    @export
    async def count_async(self, n: int) -> AsyncGenerator[int]:
        try:
            for i in range(n):
                yield i
        finally:
            self.closed.set()

    @export
    def count_and_spoil(self) -> Generator[Any]:
        yield from range(100)
        yield object()

    @export
    def lines(self, number: int, size: int) -> Generator[str]:
        for _ in range(number):
            yield "x" * size

    @export
    def slowly(self) -> Generator[bool]:
        for _ in range(3):
            self.arrived.clear()
            yield True
            if not self.arrived.wait(60):
                yield False

    @export
    def count_and_fail(self) -> Generator[int]:
        yield 1
        raise RuntimeError("relay stuck")

    @export
    def fail(self, how: str) -> None:
        raise _FAILURES[how]

    @export
    def unsendable(self) -> object:
        return object()

    def _private(self) -> None: ...


_FAILURES: dict[str, BaseException] = {
    "value": ValueError("channel 9 does not exist"),
    "unable": NotImplementedError("no meter"),
    "late": TimeoutError("no answer in 3 s"),
    "device": OSError("cable pulled"),
    "bug": KeyError("volts"),
    "stop": StopIteration(),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "group": ExceptionGroup("several", [ValueError("channel 9 does not exist")]),
    "long": RuntimeError("x" * 100_000),
}


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
def client(sample: Sample) -> Generator[DriverClient]:
    with serve(sample) as client:
        yield client


@pytest.mark.parametrize("method", ["add", "add_async"])
def test_arguments_and_defaults(client: DriverClient, method: str) -> None:
    assert client.call(method, 1) == 3
    assert client.call(method, 1, 5) == 6


def test_an_argument_arrives_as_its_annotation_says(client: DriverClient) -> None:
    assert client.call("kind", 1) == "int"
    assert client.call("kind", 1.0) == "float"
    assert client.call("sum", 1, 2, 3) == 6


@pytest.mark.parametrize(
    ("method", "args", "message"),
    [
        ("add", ("x",), r"^add: a: expected int, got 'x' \(str\)$"),
        ("add", (1.5,), r"a: expected int, got 1.5"),
        ("sum", (1, "x"), r"numbers: expected int"),
        ("add", (), r"missing a required argument: 'a'"),
        ("add", (1, 2, 3), r"too many positional arguments"),
    ],
)
def test_a_wrong_argument_is_named(client: DriverClient, method: str, args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DriverInvalidArgument, match=message):
        client.call(method, *args)


@pytest.mark.parametrize("method", ["nothing", "_private", "__init__", "children", "close", "logger", "count"])
def test_only_exported_methods_can_be_called(client: DriverClient, method: str) -> None:
    with pytest.raises(DriverMethodNotImplemented, match=method):
        client.call(method)


def test_a_call_is_no_streamed_call(client: DriverClient) -> None:
    with pytest.raises(DriverMethodNotImplemented, match="marker_streamingdrivercall"):
        list(client.streamingcall("add", 1))


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("value", DriverInvalidArgument, "channel 9 does not exist"),
        ("group", DriverInvalidArgument, "channel 9 does not exist"),
        ("unable", DriverMethodNotImplemented, "no meter"),
        ("late", DriverTimeout, "no answer in 3 s"),
        ("device", DriverError, "cable pulled"),
        ("bug", DriverError, "KeyError: 'volts'"),
        ("stop", DriverError, "StopIteration"),
        ("exit", DriverError, "SystemExit: 3"),
        ("interrupt", DriverError, "KeyboardInterrupt"),
        ("long", DriverError, "xxx…$"),
    ],
)
def test_what_a_driver_raises_reaches_the_client(
    client: DriverClient, how: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.call("fail", how)
    assert client.call("add", 1) == 3  # and the exporter goes on


def test_a_timeout_of_the_driver_is_a_timeout_of_the_client(client: DriverClient) -> None:
    with pytest.raises(TimeoutError):
        client.call("fail", "late")


def test_a_result_that_cannot_be_sent_is_an_error(client: DriverClient) -> None:
    with pytest.raises(DriverInvalidArgument, match="serialize"):
        client.call("unsendable")


def test_plain_methods_run_in_a_worker_one_at_a_time(client: DriverClient) -> None:
    assert "worker" in client.call("thread")
    threads = [threading.Thread(target=client.call, args=("alone",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.call("alone") == 1


@pytest.mark.parametrize("method", ["count", "count_async"])
def test_items_arrive_in_order(client: DriverClient, method: str) -> None:
    assert list(client.streamingcall(method, 100)) == list(range(100))


@pytest.mark.parametrize("method", ["count", "count_async"])
def test_a_generator_ends_when_the_client_stops_reading(client: DriverClient, sample: Sample, method: str) -> None:
    items = client.streamingcall(method, 10**9)
    assert next(items) == 0
    items.close()
    assert sample.closed.wait(timeout=60)


def test_items_before_a_failure_arrive(client: DriverClient) -> None:
    items = client.streamingcall("count_and_fail")
    assert next(items) == 1
    with pytest.raises(DriverError, match="relay stuck"):
        next(items)


def test_the_async_client_does_the_same(client: DriverClient, sample: Sample) -> None:
    async def use() -> list[Any]:
        assert await client.call_async("add", 1) == 3
        with pytest.raises(DriverInvalidArgument):
            await client.call_async("add", "x")
        items = client.streamingcall_async("count_async", 10**9)
        first = [await anext(items) for _ in range(3)]
        await items.aclose()
        return first

    assert client.portal.call(use) == [0, 1, 2]
    assert sample.closed.wait(timeout=60)


def test_an_error_names_the_driver_by_its_path() -> None:
    with serve(Sample(children={"rack": Sample(children={"lamp": Sample()})})) as client:
        lamp = client.children["rack"].children["lamp"]
        with pytest.raises(DriverError, match=r"^rack.lamp.fail: cable pulled$"):
            lamp.call("fail", "device")


def _messages(client: DriverClient, method: str, *args: int, typed: bool) -> list[pb.StreamingDriverCallResponse]:
    """The messages that a client gets which says, or does not say, that it understands our additions."""
    request = pb.StreamingDriverCallRequest(uuid=str(client.uuid), method=method, typed=typed)
    for arg in args:
        request.args.add().number_value = arg
    return list(client.stub.blocking.StreamingDriverCall(request))


def test_items_that_are_there_together_travel_together_but_only_to_who_understands_that(client: DriverClient) -> None:
    together = _messages(client, "count", 1000, typed=True)
    assert len(together) < 500
    assert sum(1 + len(message.more) for message in together) == 1000
    alone = _messages(client, "count", 1000, typed=False)
    assert [message.result.number_value for message in alone] == list(range(1000))
    assert not any(message.more for message in alone)


def test_large_items_do_not_add_up_to_a_message_that_is_too_large(client: DriverClient) -> None:
    assert [len(line) for line in client.streamingcall("lines", 64, 500_000)] == [500_000] * 64


def test_items_arrive_when_they_are_there(client: DriverClient, sample: Sample) -> None:
    number = 0
    for came_before_the_next in client.streamingcall("slowly"):
        assert came_before_the_next
        number += 1
        sample.arrived.set()
    assert number == 3


def test_items_before_one_that_cannot_be_sent_arrive(client: DriverClient) -> None:
    items = client.streamingcall("count_and_spoil")
    assert [next(items) for _ in range(100)] == list(range(100))
    with pytest.raises(DriverInvalidArgument):
        next(items)
