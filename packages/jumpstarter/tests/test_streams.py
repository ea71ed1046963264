"""Byte streams over a real socket: bytes, ends, breaks and offers of files."""

from __future__ import annotations

import json
import threading
import time
from asyncio import gather
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from anyio import (
    BrokenResourceError,
    ClosedResourceError,
    EndOfStream,
    create_task_group,
    fail_after,
    sleep,
    to_thread,
)
from anyio import Event as AsyncEvent
from anyio.abc import ObjectStream
from google.protobuf.empty_pb2 import Empty
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jumpstarter.client import DriverClient, direct
from jumpstarter.client.core import DriverError, DriverInvalidArgument, DriverMethodNotImplemented
from jumpstarter.common.limits import BESIDE_STREAMS, LOCAL_STREAMS
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams import frames, router
from jumpstarter.streams.blocking import BlockingStream
from jumpstarter.streams.common import create_memory_stream, forward_stream, join_streams
from jumpstarter.streams.frames import Frame
from jumpstarter.streams.metadata import MetadataStream, MetadataStreamAttributes
from jumpstarter.streams.router import FINISHES


class Device(Driver):
    """Streams of several manners."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.got: list[bytes] = []
        self.ended = threading.Event()
        self.outcome = ""

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Echoes until the client has ended."""
        ours, theirs = create_memory_stream()

        async def echo() -> None:
            async for data in ours:
                await ours.send(data)
            await ours.send_eof()

        async with ours, create_task_group() as tasks:
            tasks.start_soon(echo)
            yield theirs
            tasks.cancel_scope.cancel()

    @exportstream
    @asynccontextmanager
    async def sink(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Keeps what comes, and how it ended."""
        ours, theirs = create_memory_stream()

        async def keep() -> None:
            async for data in ours:
                self.got.append(data)

        try:
            async with ours, create_task_group() as tasks:
                tasks.start_soon(keep)
                yield theirs
                with fail_after(60):
                    await theirs.aclose()
            self.outcome = "clean"
        except BaseException:
            self.outcome = "broken"
            raise
        finally:
            self.ended.set()

    @exportstream
    @asynccontextmanager
    async def holding(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Takes nothing until it is told to."""
        self.taking = AsyncEvent()
        yield _Holding(self)

    @export
    async def take(self) -> None:
        self.taking.set()

    @exportstream
    @asynccontextmanager
    async def breaking(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Breaks once it is sent to."""
        yield _Breaking()

    @exportstream
    @asynccontextmanager
    async def speech(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Says one word, and ends."""
        ours, theirs = create_memory_stream()
        await ours.send(b"hello")
        await ours.aclose()
        yield MetadataStream(stream=theirs, metadata={"language": "en"})

    @exportstream
    @asynccontextmanager
    async def pulled(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Breaks after one word."""
        yield _Pulled()

    @exportstream
    @asynccontextmanager
    async def absent(self) -> AsyncGenerator[ObjectStream[bytes]]:
        raise ConnectionError("port is not there; plug it in")
        yield

    @export
    async def store(self, source: str) -> int:
        total = 0
        async with self.resource(source) as stream:
            async for data in stream:
                total += len(data)
        return total

    @export
    async def fetch(self, target: str, size: int) -> None:
        async with self.resource(target) as stream:
            for _ in range(size // 1000):
                await stream.send(b"x" * 1000)

    @export
    async def fetch_and_fail(self, target: str) -> None:
        async with self.resource(target) as stream:
            await stream.send(b"half")
            raise OSError("medium is gone")

    @export
    async def store_and_fail(self, source: str, seconds: float) -> None:
        """Fails in the middle; the call says where, some time after the stream broke."""
        try:
            async with self.resource(source) as stream:
                await stream.receive()
                raise OSError(5, "Input/output error")
        except OSError as e:
            await sleep(seconds)
            raise OSError("write the card at byte 4096: input/output error") from e

    @export
    def waiting(self) -> int:
        return len(self.resources)


class _Pulled(ObjectStream[bytes]):
    def __init__(self) -> None:
        self.said = False

    async def receive(self) -> bytes:
        if self.said:
            raise OSError("device unplugged")
        self.said = True
        return b"word"

    async def send(self, item: bytes) -> None: ...
    async def send_eof(self) -> None: ...
    async def aclose(self) -> None: ...


class _Silent(_Pulled):
    async def receive(self) -> bytes:
        await sleep(60)
        return b""


class _Holding(_Silent):
    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device

    async def send(self, item: bytes) -> None:
        await self.device.taking.wait()
        self.device.got.append(item)


class _Breaking(_Silent):
    async def send(self, item: bytes) -> None:
        raise OSError("it burns")


@pytest.fixture(scope="module")
def device() -> Device:
    return Device()


@pytest.fixture(scope="module")
def client(device: Device) -> Generator[DriverClient]:
    with serve(device) as client:
        yield client


def test_bytes_go_both_ways(client: DriverClient) -> None:
    with client.stream() as stream:
        stream.send(b"hello")
        assert stream.receive() == b"hello"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=2000), max_size=10))
def test_messages_keep_their_boundaries(client: DriverClient, messages: list[bytes]) -> None:
    with client.stream() as stream:
        for message in messages:
            stream.send(message)
        stream.send_eof()
        assert [stream.receive() for _ in messages] == messages
        with pytest.raises(EndOfStream):
            stream.receive()


def test_more_than_a_message_carries_is_split(client: DriverClient) -> None:
    data = bytes(range(256)) * (5 << 12)
    with client.stream() as stream:
        stream.send(data)
        stream.send_eof()
        got = bytearray()
        while len(got) < len(data):
            got += stream.receive()
    assert got == data


def test_the_end_of_the_device_is_a_clean_end(client: DriverClient) -> None:
    with client.stream("speech") as stream:
        assert stream.receive() == b"hello"
        for _ in range(2):
            with pytest.raises(EndOfStream):
                stream.receive()


def test_metadata_of_a_stream_reach_the_client(client: DriverClient) -> None:
    with client.stream("speech") as stream:
        assert stream.stream.extra(MetadataStreamAttributes.metadata)["language"] == "en"


def test_a_device_that_breaks_is_an_error_with_its_cause(client: DriverClient) -> None:
    with client.stream("pulled") as stream:
        assert stream.receive() == b"word"
        with pytest.raises(BrokenResourceError, match="device unplugged"):
            stream.receive()


def test_a_stream_that_cannot_be_opened_says_why(client: DriverClient) -> None:
    with pytest.raises(DriverError, match="absent: port is not there; plug it in"), client.stream("absent"):
        pass


@pytest.mark.parametrize("method", ["nothing", "store", "__init__"])
def test_only_exported_streams_can_be_opened(client: DriverClient, method: str) -> None:
    with pytest.raises(DriverMethodNotImplemented, match=method), client.stream(method):
        pass


def test_leaving_the_context_delivers_everything_and_ends_cleanly(client: DriverClient, device: Device) -> None:
    device.ended.clear()
    device.got.clear()
    with client.stream("sink") as stream:
        for i in range(200):
            stream.send(b"%d" % i)
    assert device.ended.wait(timeout=60)
    assert device.outcome == "clean"
    assert device.got == [b"%d" % i for i in range(200)]


def use_blocking(client: DriverClient, method: str, sent: bytes, meanwhile: Callable[[], object]) -> None:
    with client.stream(method) as stream:
        stream.send(sent)
        meanwhile()


def use_async(client: DriverClient, method: str, sent: bytes, meanwhile: Callable[[], object]) -> None:
    async def use() -> None:
        async with client.stream_async(method) as stream:
            await stream.send(sent)
            await to_thread.run_sync(meanwhile)

    client.portal.call(use)


each_way = pytest.mark.parametrize("use", [use_blocking, use_async])


@each_way
def test_bytes_that_the_device_does_not_take_are_no_success(
    client: DriverClient, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (direct, router):
        monkeypatch.setattr(module, "FINISH_TIMEOUT", 0.5)
    with pytest.raises(BrokenResourceError) as told:
        use(client, "holding", b"x" * 100_000, lambda: None)
    assert str(told.value).startswith("holding: the last bytes may be lost: the device did not take them in 0.5 s; ")


@each_way
def test_bytes_that_the_device_takes_late_have_arrived(
    client: DriverClient, device: Device, use: Callable[..., None]
) -> None:
    device.got.clear()
    use(client, "holding", b"x" * 100_000, threading.Timer(0.5, client.call, ["take"]).start)
    assert b"".join(device.got) == b"x" * 100_000


@each_way
def test_a_device_that_breaks_while_a_stream_is_closed_is_an_error(
    client: DriverClient, use: Callable[..., None]
) -> None:
    with pytest.raises(BrokenResourceError, match=r"it burns|the connection broke"):  # gRPC loses some statuses
        use(client, "breaking", b"x", lambda: None)


def test_pieces_that_wait_go_as_one_where_their_boundaries_mean_nothing(
    client: DriverClient, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DriverClient, "joins_pieces", True)
    device.ended.clear()
    device.got.clear()
    pieces = [b"%d;" % number for number in range(5000)]
    pieces.insert(2500, b"large" * 50_000)
    with client.stream("sink") as stream:
        for piece in pieces:
            stream.send(piece)
    assert device.ended.wait(timeout=60)
    assert device.outcome == "clean"
    assert b"".join(device.got) == b"".join(pieces)
    assert len(device.got) < len(pieces)


def test_an_exception_cuts_the_stream_off(client: DriverClient, device: Device) -> None:
    device.ended.clear()
    with pytest.raises(RuntimeError, match="lost interest"), client.stream("sink") as stream:
        stream.send(b"data")
        raise RuntimeError("lost interest")
    assert device.ended.wait(timeout=60)
    assert device.outcome == "broken"


def test_nothing_can_be_sent_after_the_end(client: DriverClient) -> None:
    with client.stream() as stream:
        stream.send_eof()
        with pytest.raises(ClosedResourceError):
            stream.send(b"more")


def test_a_cancelled_receive_loses_nothing(client: DriverClient) -> None:
    async def use() -> bytes:
        async with client.stream_async() as stream:
            for _ in range(3):
                with pytest.raises(TimeoutError), fail_after(0.01):
                    await stream.receive()
            await stream.send(b"late")
            return await stream.receive()

    assert client.portal.call(use) == b"late"


def test_a_stream_joins_another(client: DriverClient) -> None:
    async def use() -> list[bytes]:
        ours, theirs = create_memory_stream()
        got: list[bytes] = []
        async with client.stream_async() as stream, ours, theirs, create_task_group() as tasks:
            tasks.start_soon(join_streams, theirs, stream)
            await ours.send(b"one")
            got.append(await ours.receive())
            await ours.send_eof()
            got += [data async for data in ours]
        return got

    assert client.portal.call(use) == [b"one"]


def test_a_break_passes_through_a_join(client: DriverClient) -> None:
    async def use() -> None:
        ours, theirs = create_memory_stream()
        async with client.stream_async("pulled") as stream, ours, theirs:
            await join_streams(theirs, stream)

    with pytest.raises(BrokenResourceError, match="device unplugged"):
        client.portal.call(use)


def test_a_forward_raises_what_broke_it(client: DriverClient) -> None:
    async def use() -> None:
        ours, theirs = create_memory_stream()
        async with client.stream_async("pulled") as stream, ours, forward_stream(theirs, stream):
            assert await ours.receive() == b"word"

    with pytest.raises(BrokenResourceError, match="device unplugged"):
        client.portal.call(use)


class File(ObjectStream[bytes]):
    """A file in memory, that fails where it is told."""

    def __init__(self, data: bytes = b"", fail_after_bytes: int | None = None) -> None:
        self.data, self.at, self.written, self.limit = data, 0, bytearray(), fail_after_bytes

    async def receive(self) -> bytes:
        if self.limit is not None and self.at >= self.limit:
            raise OSError("disk error")
        if self.at >= len(self.data):
            raise EndOfStream
        chunk = self.data[self.at : self.at + 65536]
        self.at += len(chunk)
        return chunk

    async def send(self, item: bytes) -> None:
        self.written += item

    async def send_eof(self) -> None: ...
    async def aclose(self) -> None: ...


def offer(client: DriverClient, file: File, method: str, *args: Any) -> Any:
    async def use() -> Any:
        async with client.resource_async(file) as handle:
            return await client.call_async(method, handle, *args)

    return client.portal.call(use)


def test_a_file_is_read_by_the_driver(client: DriverClient) -> None:
    assert offer(client, File(b"y" * 3_000_000), "store") == 3_000_000


def test_a_file_is_written_by_the_driver(client: DriverClient) -> None:
    file = File()
    offer(client, file, "fetch", 3_000_000)
    assert file.written == b"x" * 3_000_000


@pytest.mark.parametrize("request_keys", [{}, {FINISHES: True}], ids=["of others", "of ours"])
def test_the_call_lasts_until_the_client_has_said_its_end(client: DriverClient, request_keys: dict[str, Any]) -> None:
    async def late() -> None:
        request = {"kind": "resource", "uuid": str(client.uuid), **request_keys}
        call = client.stub.Stream(metadata=(("request", json.dumps(request)),))
        handle = json.loads(dict(await call.initial_metadata())["resource"])
        await client.call_async("fetch", handle, 1000)
        assert await call.read() == (b"x" * 1000, frames.DATA)
        assert (await call.read()).kind == frames.GOAWAY
        await sleep(0.2)
        await call.write(Frame(kind=frames.GOAWAY))
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK

    client.portal.call(late)


def test_ends_that_clients_of_others_do_not_read_do_not_add_up(client: DriverClient) -> None:
    async def unread() -> None:
        calls: list[Any] = []  # these clients never cancel a call, nor let go of it
        for _ in range(LOCAL_STREAMS + BESIDE_STREAMS + 10):
            request = json.dumps({"kind": "driver", "uuid": str(client.uuid), "method": "connect"})
            calls.append(call := client.stub.Stream(metadata=(("request", request),)))
            await call.write(Frame(b"x"))
            assert await call.read() == (b"x", frames.DATA)
            await call.write(Frame(kind=frames.GOAWAY))
            await call.done_writing()
        for call in calls:
            assert await call.code() is grpc.StatusCode.OK

    client.portal.call(unread)


def test_one_local_connection_with_all_byte_streams_is_refused_another_and_served(client: DriverClient) -> None:
    async def all_of_them() -> None:
        request = json.dumps({"kind": "driver", "uuid": str(client.uuid), "method": "connect"})
        calls: list[Any] = [client.stub.Stream(metadata=(("request", request),)) for _ in range(LOCAL_STREAMS)]
        await gather(*(call.initial_metadata() for call in calls))
        assert not any(call.done() for call in calls)
        with fail_after(60):
            late: Any = client.stub.Stream(metadata=(("request", request),))
            assert await late.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "limit LOCAL_STREAMS" in await late.details()
            await client.stub.GetReport(Empty())
        for call in calls:
            call.cancel()

    client.portal.call(all_of_them)


def test_a_source_that_fails_is_never_a_shorter_file(client: DriverClient) -> None:
    with pytest.raises((OSError, DriverError)) as caught:
        offer(client, File(b"y" * 3_000_000, fail_after_bytes=1_000_000), "store")
    assert "disk error" in str(caught.value) or "gone" in str(caught.value) or "cancelled" in str(caught.value)


def test_a_download_that_fails_says_why(client: DriverClient) -> None:
    with pytest.raises(DriverError, match="medium is gone"):
        offer(client, File(), "fetch_and_fail")


@pytest.mark.parametrize("seconds", [0, 0.3])
@pytest.mark.parametrize("size", [5000, 3_000_000], ids=["all sent", "sending"])
def test_an_upload_that_fails_says_what_the_call_says(client: DriverClient, size: int, seconds: float) -> None:
    with pytest.raises(DriverError, match="store_and_fail: write the card at byte 4096"):
        offer(client, File(b"y" * size), "store_and_fail", seconds)


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        ("text", "a handle is a mapping"),
        ({"kind": "torrent", "uuid": "x"}, "'torrent' is not known"),
        ({"kind": "client_stream", "uuid": "x"}, "'x' is not the identity"),
        ({"kind": "client_stream", "uuid": "00000000-0000-0000-0000-000000000000"}, "unknown here or was used before"),
        (
            {"kind": "client_stream", "uuid": "00000000-0000-0000-0000-000000000000", "x_jmp_content_encoding": "lha"},
            "'lha' is not known; known are gzip, xz, bz2, zstd",
        ),
        ({"kind": "presigned_request", "url": "https://host/x", "method": "POST", "headers": {}}, "only GET and PUT"),
        (
            {"kind": "presigned_request", "url": "file:///etc/passwd", "method": "GET", "headers": {}},
            "begins with http",
        ),
    ],
)
def test_a_wrong_handle_is_named(client: DriverClient, handle: object, text: str) -> None:
    with pytest.raises(DriverInvalidArgument, match=text):
        client.call("store", handle)


def test_no_offer_is_left_behind(client: DriverClient) -> None:
    async def look() -> None:
        async with client.resource_async(File(b"never read")):
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        client.portal.call(look)
    for _ in range(100):
        if client.call("waiting") == 0:
            return
        threading.Event().wait(0.05)
    pytest.fail("an offered stream is still waiting")


class _Breaks(ObjectStream[bytes]):
    """Says something, and breaks when it gets something."""

    def __init__(self) -> None:
        self._said = False
        self._got = AsyncEvent()

    async def receive(self) -> bytes:
        if not self._said:
            self._said = True
            return b"unread"
        await self._got.wait()
        raise BrokenResourceError("the cable is cut")

    async def send(self, item: bytes) -> None:
        self._got.set()

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


class Breaking(Device):
    """A device whose stream breaks."""

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Breaks at the first bytes."""
        yield _Breaks()


def test_who_only_sends_notices_a_break_behind_bytes_that_nobody_received() -> None:
    def send_on(stream: BlockingStream) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            stream.send(b"x")
            time.sleep(0.05)

    with serve(Breaking()) as client, pytest.raises(BrokenResourceError), client.stream() as stream:
        send_on(stream)


def test_what_was_read_ahead_is_received() -> None:
    with serve(Device()) as client, client.stream() as stream:
        sent = [b"%04d" % number for number in range(30)]
        for data in sent:
            stream.send(data)
            time.sleep(0.05)  # longer than a stream is left unread
        got = b""
        while len(got) < 4 * len(sent):
            got += stream.receive()
        assert got == b"".join(sent)
        stream.send(b"again")
        assert stream.receive() == b"again"
        time.sleep(1.1)
        stream.send(b"unread")
