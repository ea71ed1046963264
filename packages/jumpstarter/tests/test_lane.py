"""Asynchronous calls, many of which travel on one stream: to their callers they are like calls of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import anyio.lowlevel
import grpc
import pytest
from anyio import CancelScope, create_task_group, fail_after, sleep
from anyio.from_thread import BlockingPortal
from google.protobuf.struct_pb2 import Value
from jumpstarter.client import DriverClient
from jumpstarter.client.client import client_from_channel, client_from_path
from jumpstarter.client.connection import Stub
from jumpstarter.client.core import (
    DriverError,
    DriverInvalidArgument,
    DriverMethodNotImplemented,
    DriverTimeout,
    ExporterLost,
)
from jumpstarter.client.lane import Lanes
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.common.limits import LANE_CALLS, MAX_MESSAGE, MAX_STREAMS
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export
from jumpstarter.exporter.session import Session
from jumpstarter.streams.portal import shared_portal
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb


class Sample(Driver):
    """Answers at once, later, or never."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ended: list[str] = []
        self.running = 0
        self.made = 0

    @export
    async def echo(self, value: Any) -> Any:
        return value

    @export
    def thread(self, value: int) -> int:
        return value

    @export
    async def fail(self, text: str) -> None:
        raise ValueError(text)

    @export
    async def leave(self) -> None:
        raise SystemExit(3)

    @export
    async def cancel(self) -> None:
        raise asyncio.CancelledError("of its own")

    @export
    async def cancel_items(self) -> AsyncGenerator[int]:
        yield 1
        raise asyncio.CancelledError("of its own")

    @export
    async def large(self, size: int) -> str:
        self.made += 1
        return "x" * size

    @export(concurrent=True)
    async def wait(self, seconds: float) -> str:
        self.running += 1
        try:
            await sleep(seconds)
        except BaseException as e:
            self.ended.append(type(e).__name__)
            raise
        finally:
            self.running -= 1
        return "waited"


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    with fail_after(seconds):
        while not condition():  # noqa: ASYNC110 nothing tells
            await sleep(0.01)


def run(driver: Driver, test: Callable[[DriverClient], Awaitable[None]]) -> None:
    with serve(driver) as client:
        client.portal.call(test, client)


def test_many_callers_get_each_their_own_result() -> None:
    async def test(client: DriverClient) -> None:
        got: dict[int, int] = {}

        async def caller(n: int) -> None:
            for k in range(5):
                got[n * 10 + k] = await client.call_async("echo" if n % 2 else "thread", n * 10 + k)

        with fail_after(15):
            async with create_task_group() as tasks:
                for n in range(40):
                    tasks.start_soon(caller, n)
        assert len(got) == 200
        assert all(key == value for key, value in got.items())

    run(Sample(), test)


def test_a_slow_call_holds_up_no_other() -> None:
    async def test(client: DriverClient) -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(client.call_async, "wait", 60)
            with fail_after(10):
                for n in range(20):
                    assert await client.call_async("echo", n) == n
            tasks.cancel_scope.cancel()

    run(Sample(), test)


def test_errors_are_those_of_calls_by_themselves() -> None:
    async def test(client: DriverClient) -> None:
        for method, args in (
            ("fail", ["broken é"]),
            ("leave", []),
            ("cancel", []),
            ("missing", []),
            ("echo", [1, 2, 3]),
        ):
            errors: list[DriverError] = []
            for timeout in (None, 30):  # by the stream, and by itself
                with pytest.raises(DriverError) as caught:
                    await client.call_async(method, *args, timeout=timeout)
                errors.append(caught.value)
            one, other = errors
            assert (type(one), str(one), one.parts()) == (type(other), str(other), other.parts())

    run(Sample(), test)


def test_items_end_where_a_driver_cancels_itself() -> None:
    async def test(client: DriverClient) -> None:
        got: list[int] = []
        with fail_after(15), pytest.raises(DriverError, match="CancelledError: of its own"):
            async for item in client.streamingcall_async("cancel_items"):
                got.append(item)
        assert got == [1]

    run(Sample(), test)


def test_failed_calls_leave_the_stream_usable() -> None:
    async def test(client: DriverClient) -> None:
        for n in range(5):
            with pytest.raises(DriverInvalidArgument, match="no 1"):
                await client.call_async("fail", "no 1")
            with pytest.raises(DriverMethodNotImplemented):
                await client.call_async("missing")
            assert await client.call_async("echo", n) == n

    run(Sample(), test)


def test_a_result_that_is_too_large_fails_alone() -> None:
    async def test(client: DriverClient) -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(client.call_async, "wait", 0.2)
            with pytest.raises(DriverInvalidArgument, match="more data than one message carries"):
                await client.call_async("large", MAX_MESSAGE)
            assert len(await client.call_async("large", MAX_MESSAGE - 1000)) == MAX_MESSAGE - 1000

    run(Sample(), test)


def test_large_arguments_go_by_themselves() -> None:
    async def test(client: DriverClient) -> None:
        text = "y" * (1 << 20)
        assert await client.call_async("echo", text) == text

    run(Sample(), test)


def test_a_cancelled_caller_cancels_its_call_and_no_other() -> None:
    driver = Sample()

    async def cancel(scope: CancelScope) -> None:
        await until(lambda: driver.running == 2)
        scope.cancel()

    async def test(client: DriverClient) -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(client.call_async, "wait", 2)
            with CancelScope() as scope:
                tasks.start_soon(cancel, scope)
                await client.call_async("wait", 60)
            assert scope.cancelled_caught
            await until(lambda: driver.ended == ["CancelledError"])
        assert await client.call_async("echo", 1) == 1

    run(driver, test)


def test_a_call_that_is_cancelled_before_it_is_sent_never_runs() -> None:
    driver = Sample()

    async def test(client: DriverClient) -> None:
        await client.call_async("echo", 0)
        async with create_task_group() as tasks:
            tasks.start_soon(client.call_async, "wait", 60)
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await client.call_async("echo", 1)
        await until(lambda: driver.running == 0)

    run(driver, test)


def test_calls_with_a_deadline_keep_it() -> None:
    async def test(client: DriverClient) -> None:
        began = time.monotonic()
        with pytest.raises(DriverTimeout, match=r"no answer within 0\.2 s"):
            await client.call_async("wait", 60, timeout=0.2)
        assert time.monotonic() - began < 10

    run(Sample(), test)


def test_a_burst_of_calls_of_one_driver_is_served() -> None:
    async def test(client: DriverClient) -> None:
        got: list[int] = []

        async def caller(n: int) -> None:
            got.append(await client.call_async("thread", n))

        with fail_after(30):
            async with create_task_group() as tasks:
                for n in range(100):
                    tasks.start_soon(caller, n)
        assert sorted(got) == list(range(100))

    run(Sample(), test)


def test_more_calls_than_a_stream_takes_all_run() -> None:
    driver = Sample()

    async def test(client: DriverClient) -> None:
        done = 0

        async def caller() -> None:
            nonlocal done
            assert await client.call_async("wait", 0.5) == "waited"
            done += 1

        with fail_after(15):
            async with create_task_group() as tasks:
                for _ in range(LANE_CALLS + 20):
                    tasks.start_soon(caller)
        assert done == LANE_CALLS + 20

    run(driver, test)


@asynccontextmanager
async def _served(driver: Driver) -> AsyncGenerator[tuple[Any, Session]]:
    async with Session(root_device=driver) as session, session.serve_unix_async() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            yield Stub(channel), session


def _call(number: int, uuid: object, method: str, *args: Value) -> pb.DriverCallsRequest.Call:
    request = pb.DriverCallRequest(uuid=str(uuid), method=method, args=args)
    return pb.DriverCallsRequest.Call(number=number, request=request)


def _raw(test: Callable[[Any, Sample], Awaitable[None]]) -> None:
    async def run() -> None:
        driver = Sample()
        async with _served(driver) as (stub, _):
            with fail_after(15):
                await test(stub, driver)

    shared_portal().call(run)


def test_a_client_that_sends_too_many_calls_is_told_the_limit() -> None:
    async def test(stub: Any, driver: Sample) -> None:
        call = stub.DriverCalls()
        seconds = Value(number_value=60)
        calls = [_call(n, driver.uuid, "wait", seconds) for n in range(1, MAX_STREAMS + 2)]
        await call.write(pb.DriverCallsRequest(calls=calls[:-1]))
        await call.write(pb.DriverCallsRequest(calls=calls[-1:]))
        response = await call.read()
        assert [outcome.failure.error.code for outcome in response.outcomes] == ["limit"]
        call.cancel()
        await until(lambda: driver.running == 0)

    _raw(test)


def test_more_calls_in_a_message_than_may_run_end_the_stream() -> None:
    async def test(stub: Any, driver: Sample) -> None:
        call = stub.DriverCalls()
        await call.write(pb.DriverCallsRequest(calls=[pb.DriverCallsRequest.Call(number=n) for n in range(100_000)]))
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "limit MAX_STREAMS" in await call.details()

    _raw(test)


def test_no_more_is_kept_for_a_client_that_does_not_read() -> None:
    async def test(stub: Any, driver: Sample) -> None:
        call, size, most = stub.DriverCalls(), Value(number_value=100_000), 600

        async def send() -> None:
            for n in range(most):
                await call.write(pb.DriverCallsRequest(calls=[_call(n, driver.uuid, "large", size)]))

        async with create_task_group() as tasks:
            tasks.start_soon(send)
            before = 0
            while before == 0 or before != driver.made:
                before = driver.made
                await sleep(0.5)
            assert driver.made < most / 2
            done = 0
            while done < most:  # once it reads, everything goes on
                done += len((await call.read()).outcomes)
        assert driver.made == most
        call.cancel()

    _raw(test)


def test_the_end_of_the_stream_cancels_what_runs() -> None:
    async def test(stub: Any, driver: Sample) -> None:
        call = stub.DriverCalls()
        await call.write(pb.DriverCallsRequest(calls=[_call(1, driver.uuid, "wait", Value(number_value=60))]))
        await until(lambda: driver.running == 1)
        call.cancel()
        await until(lambda: driver.ended == ["CancelledError"])

    _raw(test)


def test_half_close_lets_calls_end_and_ends_the_stream() -> None:
    async def test(stub: Any, driver: Sample) -> None:
        call = stub.DriverCalls()
        await call.write(pb.DriverCallsRequest(calls=[_call(7, driver.uuid, "wait", Value(number_value=0.2))]))
        await call.done_writing()
        response = await call.read()
        assert [outcome.number for outcome in response.outcomes] == [7]
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK

    _raw(test)


def test_unknown_numbers_and_twice_the_same_do_no_harm() -> None:
    async def test(stub: Any, driver: Sample) -> None:
        call = stub.DriverCalls()
        one = _call(1, driver.uuid, "wait", Value(number_value=0.1))
        await call.write(pb.DriverCallsRequest(calls=[one, one], cancelled=[99]))
        response = await call.read()
        assert [outcome.number for outcome in response.outcomes] == [1]
        await call.write(pb.DriverCallsRequest(calls=[_call(2, driver.uuid, "echo", Value(string_value="x"))]))
        response = await call.read()
        assert response.outcomes[0].response.result.string_value == "x"
        call.cancel()

    _raw(test)


def test_garbage_is_refused() -> None:
    async def run() -> None:
        async with (
            _served(Sample()) as (_, session),
            session.serve_unix_async() as path,
            grpc.aio.insecure_channel(f"unix:{path}") as channel,
        ):
            untyped: Any = channel
            call = untyped.stream_stream("/jumpstarter.v1.ExporterService/DriverCalls")()
            await call.write(b"\xff\xff\xff")
            with fail_after(10):
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "malformed" in (await call.details() or "")

    shared_portal().call(run)


def test_calls_that_run_when_the_exporter_goes_fail_and_later_ones_say_so_too() -> None:
    async def run() -> None:
        driver = Sample()

        async def caller(client: DriverClient) -> None:
            with pytest.raises(DriverError):
                await client.call_async("wait", 60)

        with ExitStack() as stack:
            async with BlockingPortal() as portal, create_task_group() as tasks, AsyncExitStack() as connection:
                async with Session(root_device=driver) as session, session.serve_unix_async() as path:
                    session.update_status(ExporterStatus.LEASE_READY)
                    connecting = client_from_path(str(path), portal, stack, unsafe=True)
                    client = await connection.enter_async_context(connecting)
                    tasks.start_soon(caller, client)
                    await until(lambda: driver.running == 1)
                with pytest.raises(ExporterLost):
                    await client.call_async("echo", 1)

    shared_portal().call(run)


def _lane_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("calls: ")]


def test_a_client_leaves_nothing_on_a_channel_that_stays() -> None:
    async def run() -> None:
        async with _served(Sample()) as (_, session), session.serve_unix_async() as path, BlockingPortal() as portal:
            before = len(_lane_tasks())
            async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                with ExitStack() as stack:
                    async with client_from_channel(channel, portal, stack, unsafe=True) as client:
                        assert await client.call_async("echo", 1) == 1
                        assert len(_lane_tasks()) == before + 2
                await until(lambda: len(_lane_tasks()) == before)

    shared_portal().call(run)


def test_a_call_that_is_awaited_when_its_stream_has_ended_fails() -> None:
    async def test(stub: Any, driver: Sample) -> None:
        lanes = Lanes(stub.DriverCalls, stub.DriverCall)
        request = _call(1, driver.uuid, "echo", Value(string_value="x")).request
        assert (await lanes(request)).result.string_value == "x"
        late = lanes(request)
        lanes.close()
        await until(lambda: not _lane_tasks())
        with pytest.raises(grpc.RpcError):
            await late
        assert (await lanes(request)).result.string_value == "x"
        lanes.close()

    _raw(test)


def test_callers_are_cancelled_with_the_event_loop() -> None:
    driver, ended = Sample(), list[str]()

    async def caller(lanes: Lanes) -> None:
        try:
            await lanes(_call(1, driver.uuid, "wait", Value(number_value=60)).request)
        except BaseException as e:
            ended.append(type(e).__name__)
            raise

    async def run() -> list[asyncio.Task[None]]:
        serving = _served(driver)
        stub, _ = await serving.__aenter__()
        lanes = Lanes(stub.DriverCalls, stub.DriverCall)
        tasks = [asyncio.create_task(caller(lanes)) for _ in range(5)]
        await until(lambda: driver.running == 5)
        return tasks  # the loop cancels them, and the lane's own, in any order

    asyncio.run(run())
    assert ended == ["CancelledError"] * 5
