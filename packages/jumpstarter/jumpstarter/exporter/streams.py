"""Byte streams of a session: to a device, and of the files that a client offers to one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any, cast
from uuid import uuid4

import grpc
from anyio import CancelScope, ClosedResourceError, EndOfStream, Event, move_on_after, sleep
from anyio.abc import ObjectStream
from google.protobuf.message import DecodeError

from ..common.env import JMP_DISABLE_COMPRESSION
from ..common.limits import IGNORED_RESOURCE, UNCLAIMED_RESOURCE
from ..driver.base import Driver
from ..streams import frames
from ..streams.common import broken, join_streams
from ..streams.frames import Frame
from ..streams.memory import release_freed_memory
from ..streams.metadata import ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ENCODINGS, MetadataStreamAttributes
from ..streams.router import FINISH_TIMEOUT, FINISHES, QUICK, RouterStream, retrieve
from .calls import Arguments
from .errors import DRIVER_FAILURES, Failure, abort, explain
from .gate import Gate
from .recordentries import Running
from .session import Session

GIVE_BACK = 0.5
"""Seconds after a file until memory is given back: the call that used it and gRPC have to let go of theirs first."""


class _Memory:
    """What is left of the files of clients; given back once for all that end within GIVE_BACK."""

    def __init__(self) -> None:
        self._next: asyncio.TimerHandle | None = None

    def give_back_soon(self) -> None:
        loop = asyncio.get_running_loop()
        if self._next is None or self._next.when() < loop.time():
            self._next = loop.call_later(GIVE_BACK, release_freed_memory)


_memory = _Memory()


async def serve_stream(session: Session, gate: Gate, context: Any) -> None:
    """Serve one stream call; `request` in its metadata says to what. Quick streams may follow each other."""
    metadata: dict[str, str] = dict(context.invocation_metadata() or ())
    text: str | bytes | None = metadata.get("request")
    first = b""
    while await _serve_one(session, gate, context, text, first):
        await context.write(Frame(kind=frames.DONE))
        payload = await _next_request(context)
        if payload is None:
            return
        text, _, first = payload.partition(b"\n")


async def _next_request(context: Any) -> bytes | None:
    """The request for a further stream in the same call; None where the client wants none."""
    try:
        frame = await context.read()
    except DecodeError as e:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the frame is malformed: {e}")
        raise
    return frame.payload if frame is not grpc.aio.EOF and frame.kind == frames.NEXT else None


async def _reset(context: Any, failure: Failure) -> None:
    """Say in a frame why a stream broke, and let the client end the call.

    A client that writes when its call has ended loses the status of that (grpcio 1.85: "Internal error from Core").
    """
    frame = Frame(failure.message().SerializeToString(), frames.RST_STREAM)
    writing = asyncio.ensure_future(context.write(frame))  # not awaited, so never cancelled; it ends with the call
    writing.add_done_callback(retrieve)
    await asyncio.wait([writing], timeout=FINISH_TIMEOUT)
    if writing.done() and writing.exception() is None:  # it fails where another write still waits for the client
        await sleep(FINISH_TIMEOUT)


async def _serve_one(session: Session, gate: Gate, context: Any, text: str | bytes | None, first: bytes) -> bool:
    """Serve one stream, whose first bytes may be here; whether another one may follow in the same call."""
    opened, request = False, dict[str, Any]()

    async def opening(metadata: dict[str, str]) -> None:
        nonlocal opened
        if not request.get(QUICK):
            await context.send_initial_metadata(((FINISHES, "1"), *metadata.items()))
        opened = True

    try:
        request = _request(text)
        if request["kind"] == "session":
            await gate.serve_session(request, context, opening)
            return False
        session.instance(str(request.get("uuid")))
        with await gate.admit(context), session.stream_of(context.peer()):
            await session.check_usable(str(request.get("uuid")))
            driver = session.instance(str(request.get("uuid")))
            name = f"stream {request.get('method') or request['kind']} of driver {session.path(driver)}"
            is_ours = bool(request.get(FINISHES))
            is_file, is_quick = request["kind"] == "resource", bool(request.get(QUICK))
            remote = RouterStream(
                context, name=name, is_peer_ours=is_ours, summed=is_file, quick=is_quick and not is_file, first=first
            )
            if not is_file:
                return await _serve_device(session, driver, str(request.get("method")), remote, opening)
            with session.record.stream(session.path(driver), "resource") as noted:
                await _serve_resource(driver, request, remote, opening, noted)
            return False
    except DRIVER_FAILURES as e:
        operation = str(request.get("method") or request.get("kind") or "stream")
        failure = explain(session, context, str(request.get("uuid")), operation, e, opened=opened)
        if request.get(QUICK):
            await _reset(context, failure)
        await abort(context, failure)


def _request(text: str | bytes | None) -> dict[str, Any]:
    """What the client asks for; ValueError unless it is a request of a known kind."""
    if text is None:
        raise ValueError("stream: metadata 'request' is missing")
    try:
        request: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("stream: metadata 'request' is not JSON") from None
    fields = cast("dict[str, Any]", request) if isinstance(request, dict) else {}
    if fields.get("kind") not in ("driver", "resource", "session"):
        raise ValueError("stream: metadata 'request' has no kind 'driver' or 'resource'")
    return fields


async def _serve_device(session: Session, driver: Driver, name: str, remote: RouterStream, opening: Any) -> bool:
    """Join the client with the stream that an exported method of the driver opens; whether its call is free again."""
    method = session.method(driver, name, "stream")
    with session.record.stream(session.path(driver), name) as noted:
        async with session.calls.stream(driver, method) as device:
            extra = getattr(device, "extra", None)
            await opening(dict(extra(MetadataStreamAttributes.metadata, {}) if extra is not None else {}))
            try:
                await join_streams(remote, device)
                await remote.aclose()
            finally:
                noted.received, noted.sent = remote.received, remote.sent
                remote.abort()
                with CancelScope(shield=True):
                    await device.aclose()  # drivers rely on it, and closing twice does no harm
    return remote.leaves_call


class OfferedStream(ObjectStream[bytes]):
    """A client's byte stream as the driver that uses it sees it; the stream call lives until it is closed."""

    def __init__(self, remote: RouterStream, length: int | None = None) -> None:
        """`length` is how many bytes the client says that it will send."""
        self._remote = remote
        self._length = length
        self.settled, self.opened, self.closed = Event(), Event(), Event()
        self.is_claimed = False
        self.failure: BaseException | None = None

    async def receive(self) -> bytes:
        self._check()
        try:
            return await self._remote.receive()
        except EndOfStream:
            if self._length is not None and self._remote.received != self._length:
                raise broken(f"{self._remote.received} bytes came, and not {self._length}; send it again") from None
            raise

    async def send(self, item: bytes) -> None:
        self._check()
        await self._remote.send(item)

    async def send_eof(self) -> None:
        self._check()
        await self._remote.send_eof()

    async def aclose(self) -> None:
        self.closed.set()

    async def __aenter__(self) -> OfferedStream:
        """The call that has the handle may come before gRPC says here that the handle was sent: bytes wait for that."""
        self.is_claimed = True
        self.settled.set()
        await self.opened.wait()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.failure = error
        self.closed.set()

    def _check(self) -> None:
        if self.closed.is_set():
            raise ClosedResourceError


_NOTHING = nullcontext()


def offers_in(driver: Driver, arguments: Arguments) -> AbstractContextManager[None]:
    """Around a call: streams whose handles it gets, and which it does not use, end with it."""
    return _offers_in(driver, arguments) if driver.resources else _NOTHING


@contextmanager
def _offers_in(driver: Driver, arguments: Arguments) -> Generator[None]:
    handles = {str(value.get("uuid")) for value in chain(arguments[0], arguments[1].values()) if _is_handle(value)}
    offers = [offer for uuid, offer in driver.resources.items() if str(uuid) in handles]
    try:
        yield
    finally:
        for offer in offers:
            cast(OfferedStream, offer).settled.set()


def _is_handle(value: Any) -> bool:
    return isinstance(value, Mapping)


async def _serve_resource(
    driver: Driver, request: dict[str, Any], remote: RouterStream, opening: Any, noted: Running
) -> None:
    """Offer the client's stream to the driver, until a call of it is done with it."""
    uuid = uuid4()
    encoding, length = request.get(CONTENT_ENCODING), request.get(CONTENT_LENGTH)
    known = str(encoding) if encoding in ENCODINGS else None
    offered = driver.resources[uuid] = OfferedStream(remote, int(length) if length is not None else None)
    # the handle says what comes even where that is not accepted: a client that does not look sends it all the same
    handle = {"kind": "client_stream", "uuid": str(uuid), CONTENT_ENCODING: known}
    accepted = known if known is not None and not os.environ.get(JMP_DISABLE_COMPRESSION) else ""
    try:
        await opening({"resource": json.dumps(handle, separators=(",", ":")), ACCEPT_ENCODING: accepted})
        offered.opened.set()
        with move_on_after(UNCLAIMED_RESOURCE):
            await offered.settled.wait()
        if not offered.settled.is_set():
            raise TimeoutError(f"no call used the stream within {UNCLAIMED_RESOURCE:g} s")
        if not offered.is_claimed:
            await sleep(IGNORED_RESOURCE)  # for what the call may have left to do for later
        if offered.is_claimed:
            await offered.closed.wait()
        if offered.failure is not None:  # the client must not take this for a complete file
            raise offered.failure if isinstance(offered.failure, Exception) else RuntimeError("the call was cancelled")
        await remote.aclose()
    finally:
        noted.received, noted.sent = remote.received, remote.sent
        driver.resources.pop(uuid, None)
        offered.opened.set()
        offered.closed.set()
        remote.abort()
        if offered.is_claimed:
            _memory.give_back_soon()
