"""Streams that follow one another in one call: bytes stay with theirs, and whatever goes wrong ends the call."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from anyio import EndOfStream, create_task_group, fail_after, sleep
from anyio.abc import ObjectStream
from jumpstarter.client import DriverClient
from jumpstarter.client.connection import Stub
from jumpstarter.client.core import DriverError
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.common.limits import IDLE_STREAMS
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, exportstream
from jumpstarter.exporter.session import Session
from jumpstarter.streams import frames
from jumpstarter.streams.common import create_memory_stream, join_streams
from jumpstarter.streams.frames import Frame
from jumpstarter.streams.portal import shared_portal


class Shout(ObjectStream[bytes]):
    """Gives back in capitals what was sent, once that has ended."""

    def __init__(self, owner: Streams) -> None:
        self._owner = owner
        self._got: list[bytes] = []
        self._near, self._far = create_memory_stream()

    async def send(self, item: bytes) -> None:
        if item == b"break":
            raise OSError(5, "Input/output error")
        self._got.append(item)

    async def send_eof(self) -> None:
        await self._far.send(b"".join(self._got).upper())
        await self._far.send_eof()

    async def receive(self) -> bytes:
        return await self._near.receive()

    async def aclose(self) -> None:
        self._owner.closed.append(b"".join(self._got))
        await self._near.aclose()
        await self._far.aclose()


class Streams(Driver):
    """Byte streams."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.closed: list[bytes] = []

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        yield Shout(self)

    @exportstream
    @asynccontextmanager
    async def absent(self) -> AsyncGenerator[ObjectStream[bytes]]:
        raise FileNotFoundError(2, "No such file or directory")
        yield


def run(test: Callable[[Any, Streams], Awaitable[None]]) -> None:
    """Run a test with the stub of an exporter that serves a driver."""

    async def served() -> None:
        driver = Streams()
        async with Session(root_device=driver) as session, session.serve_unix_async() as path:
            session.update_status(ExporterStatus.LEASE_READY)
            async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                with fail_after(15):
                    await test(Stub(channel), driver)

    shared_portal().call(served)


def request(driver: Driver, method: str = "connect", *, quick: bool = True) -> str:
    return json.dumps({"kind": "driver", "uuid": str(driver.uuid), "method": method, "x_jmp_quick": quick})


async def read_until_done(call: Any) -> bytes:
    got = b""
    while (frame := await call.read()).kind != frames.DONE:
        assert frame.kind in (frames.DATA, frames.GOAWAY)
        got += frame.payload
    return got


def test_streams_follow_one_another_in_one_call() -> None:
    async def test(stub: Any, driver: Streams) -> None:
        call = stub.Stream(metadata=(("request", request(driver)),))
        await call.write(Frame(b"one"))
        await call.write(Frame(kind=frames.GOAWAY))
        assert await read_until_done(call) == b"ONE"
        assert driver.closed == [b"one"]  # the device was closed before the exporter said so
        for text in (b"two", b"three\nlines\nlong"):
            await call.write(Frame(request(driver).encode() + b"\n" + text, frames.NEXT))
            await call.write(Frame(b"!"))
            await call.write(Frame(kind=frames.GOAWAY))
            assert await read_until_done(call) == text.upper() + b"!"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK

    run(test)


def test_a_stream_that_is_not_quick_ends_its_call() -> None:
    async def test(stub: Any, driver: Streams) -> None:
        call = stub.Stream(metadata=(("request", request(driver, quick=False)),))
        await call.write(Frame(b"one"))
        await call.write(Frame(kind=frames.GOAWAY))
        assert (await call.read()).payload == b"ONE"
        assert (await call.read()).kind == frames.GOAWAY
        assert await call.read() is grpc.aio.EOF

    run(test)


@pytest.mark.parametrize(
    ("follows", "status", "text"),
    [
        (b"not JSON", grpc.StatusCode.INVALID_ARGUMENT, "not JSON"),
        (b'{"kind": "driver", "uuid": "7"}', grpc.StatusCode.INVALID_ARGUMENT, "not the uuid"),
        (b'{"kind": "unheard of"}', grpc.StatusCode.INVALID_ARGUMENT, "no kind"),
    ],
)
def test_a_wrong_request_ends_the_call(follows: bytes, status: grpc.StatusCode, text: str) -> None:
    async def test(stub: Any, driver: Streams) -> None:
        call = stub.Stream(metadata=(("request", request(driver)),))
        await call.write(Frame(kind=frames.GOAWAY))
        await read_until_done(call)
        await call.write(Frame(follows, frames.NEXT))
        assert await call.code() is status
        assert text in (await call.details() or "")

    run(test)


def test_a_frame_that_begins_nothing_ends_the_call() -> None:
    async def test(stub: Any, driver: Streams) -> None:
        call = stub.Stream(metadata=(("request", request(driver)),))
        await call.write(Frame(kind=frames.GOAWAY))
        await read_until_done(call)
        await call.write(Frame(b"late"))
        assert await call.code() is grpc.StatusCode.OK
        assert driver.closed == [b""]

    run(test)


async def joined(client: DriverClient, data: bytes, method: str = "connect") -> bytes:
    """What comes back for data that a local connection sends."""
    near, far = create_memory_stream()
    got = b""
    async with near, far:
        await near.send(data)
        await near.send_eof()
        async with client.stream_async(method, wait=False) as stream:
            await join_streams(far, stream)
        with suppress(EndOfStream):
            while True:
                got += await near.receive()
    return got


def test_a_client_uses_a_call_again_and_keeps_few() -> None:
    driver = Streams()

    async def test(client: DriverClient) -> None:
        with fail_after(15):
            for n in range(5):
                assert await joined(client, b"a%d" % n) == b"A%d" % n
            idle = client.stub.idle_streams
            assert len(idle) == 1

            async def use(n: int) -> None:
                assert await joined(client, b"b%d" % n) == b"B%d" % n

            async with create_task_group() as tasks:
                for n in range(2 * IDLE_STREAMS):
                    tasks.start_soon(use, n)
            assert len(idle) == IDLE_STREAMS

    with serve(driver) as client:
        client.portal.call(test, client)
    assert len(driver.closed) == 5 + 2 * IDLE_STREAMS


@pytest.mark.parametrize("writes", [True, False])
def test_one_that_is_not_joined_follows_as_well(writes: bool) -> None:
    driver = Streams()

    async def test(client: DriverClient) -> None:
        with fail_after(15):
            assert await joined(client, b"one") == b"ONE"
            async with client.stream_async(wait=False) as stream:
                if writes:
                    await stream.send(b"two")
                await stream.send_eof()
                assert await stream.receive() == (b"TWO" if writes else b"")
            assert await joined(client, b"three") == b"THREE"

    with serve(driver) as client:
        client.portal.call(test, client)
    assert driver.closed == [b"one", b"two" if writes else b"", b"three"]


def test_a_stream_that_breaks_is_told_and_the_next_one_works() -> None:
    driver = Streams()

    async def test(client: DriverClient) -> None:
        with fail_after(15):
            assert await joined(client, b"one") == b"ONE"
            for _ in range(2):
                with pytest.raises(DriverError, match="Input/output error"):
                    await joined(client, b"break")
                assert await joined(client, b"two") == b"TWO"
            with pytest.raises(DriverError, match="No such file"):
                await joined(client, b"", "absent")
            assert await joined(client, b"three") == b"THREE"

    with serve(driver) as client:
        client.portal.call(test, client)


def test_a_cancelled_stream_is_none_that_is_used_again() -> None:
    driver = Streams()

    async def test(client: DriverClient) -> None:
        with fail_after(15):
            assert await joined(client, b"one") == b"ONE"
            near, far = create_memory_stream()
            async with near, far, create_task_group() as tasks:

                async def use() -> None:
                    async with client.stream_async(wait=False) as stream:
                        await join_streams(far, stream)

                tasks.start_soon(use)
                await near.send(b"left")
                await sleep(0.1)
                tasks.cancel_scope.cancel()
            assert await joined(client, b"two") == b"TWO"
            assert len(client.stub.idle_streams) == 1

    with serve(driver) as client:
        client.portal.call(test, client)
