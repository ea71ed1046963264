"""A byte stream on gRPC's blocking stub: no event loop is on its way, which saves half of a round trip."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, to_thread
from anyio.abc import ObjectStream

from ..streams import frames
from ..streams.blocking import BlockingStream
from ..streams.frames import MAX_FRAME, Frame
from ..streams.memory import keep_freed_memory
from ..streams.metadata import MetadataStreamAttributes
from ..streams.pump import AHEAD
from ..streams.router import CLOSE, FINISH_TIMEOUT, FINISHES, LINGER_TIMEOUT, take_frame
from .broken import StreamBroken, StreamLost, unused
from .errors import DriverError, ExporterLost, driver_error

if TYPE_CHECKING:
    from ..streams.portal import Portal
    from .base import DriverClient

UNREAD_TIMEOUT = 1.0
"""Seconds after which a stream that is sent to, and not received from, is read ahead."""

UNREAD_BYTES = 1 << 20
"""Bytes that are read ahead then."""

JOINED_BYTES = 64 * 1024
"""Bytes up to which pieces that wait are joined, since a frame of few costs as much as one of many."""


@contextmanager
def open_direct(client: DriverClient, stub: Any, method: str) -> Generator[BlockingStream]:
    """A stream that a method of a client's driver opens; closed cleanly at the end, cut off by an exception."""
    request = {"kind": "driver", "uuid": str(client.uuid), "method": method}
    stream = DirectStream(stub.Stream, request, client.path, method, client.portal, joins=client.joins_pieces)
    try:
        stream.wait_opened()
        yield stream
        stream.close()
    finally:
        stream.abort()


class DirectStream(BlockingStream):
    """The client's end. One thread may send while another receives, and a third closes."""

    def __init__(
        self,
        call: Callable[..., Any],
        request: dict[str, Any],
        driver: str,
        operation: str,
        portal: Portal,
        *,
        joins: bool = False,
    ) -> None:
        """`joins` lets pieces that wait to be sent go as one."""
        keep_freed_memory()
        super().__init__(stream=_AsyncView(self), portal=portal)
        self.metadata: dict[str, str] = {}
        """What the exporter said when it opened the stream."""
        self._driver, self._operation = driver, operation
        self._outgoing = _Outgoing(JOINED_BYTES if joins else 0)
        self._receiving = threading.Lock()
        self._received_at = time.monotonic()
        self._ahead: deque[Frame] = deque()
        self._ahead_since = 0.0
        self._eof_received: EndOfStream | None = None
        self._eof_sent = self._closed = False
        self._sent = 0
        self._is_late = False
        self._is_told = False
        """Whether somebody was told that the stream broke."""
        metadata = (("request", json.dumps(request | {FINISHES: True}, separators=(",", ":"))),)
        self._call = call(self._outgoing, metadata=metadata)
        if not self._call.add_callback(self._outgoing.end):
            self._outgoing.end()

    def wait_opened(self) -> None:
        """Wait until the exporter has opened the stream; raises why it does not."""
        self.metadata = dict(self._call.initial_metadata() or ())
        if not self._call.is_active() and self._call.code() is not grpc.StatusCode.OK:
            raise self._failure()

    def _failure(self) -> DriverError:
        return driver_error(self._call, self._driver, self._operation)

    def _broken(self) -> BrokenResourceError:
        """What to raise for a call that has ended without the end of the stream."""
        self._is_told = True
        failure = self._failure()
        kind = StreamLost if isinstance(failure, ExporterLost) else StreamBroken
        error = kind(failure.message, failure.hint, **failure.parts())
        error.__cause__ = failure.__cause__
        return error

    def send(self, data: bytes) -> None:
        """Send bytes; waits while the peer does not keep up. Raises anyio.BrokenResourceError when cut off."""
        if self._closed or self._eof_sent:
            raise ClosedResourceError
        if time.monotonic() - self._received_at > UNREAD_TIMEOUT:
            self._start_reading_ahead()
        view = memoryview(data)
        for start in range(0, max(len(data), 1), MAX_FRAME):
            if not self._outgoing.put(Frame(view[start : start + MAX_FRAME])):
                raise self._broken()
        self._sent += len(view)

    def receive(self) -> bytes:
        """The next bytes. Raises anyio.EndOfStream at a clean end and anyio.BrokenResourceError when cut off."""
        self._received_at = time.monotonic()
        if self._closed:
            raise ClosedResourceError
        if self._eof_received is not None:
            raise self._eof_received
        while True:
            taken = take_frame(self._next())
            if self._closed:  # meanwhile: what still comes is nobody's
                continue
            if isinstance(taken, EndOfStream):
                self._eof_received = taken
                raise taken
            if taken is not None:
                self._received_at = time.monotonic()
                return taken

    def _start_reading_ahead(self) -> None:
        """Let who only sends notice a break: gRPC tells of the end of a call behind all that was received."""
        if self._ahead_since != self._received_at and not self._receiving.locked():
            self._ahead_since = self._received_at
            threading.Thread(target=self._read_ahead, name="stream: read ahead", daemon=True).start()

    def _read_ahead(self) -> None:
        """Read until somebody receives, or there is too much; to the end of a stream that is closed meanwhile."""
        size = sum(len(frame.payload) for frame in self._ahead.copy())
        with suppress(StopIteration, grpc.RpcError):  # whoever sends or receives says why
            while self._closed or (self._received_at == self._ahead_since and size < UNREAD_BYTES):
                with self._receiving:
                    frame: Frame = next(self._call)
                    self._ahead.append(frame)
                size += len(frame.payload)

    def _next(self) -> Frame:
        if (frame := self._read_before()) is not None:
            return frame
        with self._receiving:
            if (frame := self._read_before()) is not None:  # while we waited
                return frame
            with suppress(StopIteration, grpc.RpcError):
                return next(self._call)
        if self._closed:
            raise ClosedResourceError
        raise self._broken()

    def _read_before(self) -> Frame | None:
        with suppress(IndexError):
            return self._ahead.popleft()
        return None

    def send_eof(self) -> None:
        """Say that no more bytes follow; the other direction stays open."""
        self._goaway(b"")

    def _goaway(self, payload: bytes) -> None:
        if self._eof_sent:
            return
        self._eof_sent = True
        if not (self._outgoing.put(Frame(payload, frames.GOAWAY)) and self._outgoing.put(None)) and not self._closed:
            raise self._broken()

    def close(self) -> None:
        """End the stream cleanly, after all that was sent has arrived; waits for a bounded time.

        Raises StreamBroken where the exporter says when it has used the bytes, and does not in that time.
        """
        if self._closed:
            return
        self._closed = True
        limit = FINISH_TIMEOUT if FINISHES in self.metadata else LINGER_TIMEOUT
        timer = threading.Timer(limit, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            self._goaway(CLOSE)
            if self._receiving.acquire(blocking=False):
                try:
                    self._read_to_the_end()
                finally:
                    self._receiving.release()
            else:  # whoever receives reads to the end
                self._outgoing.ended.wait()  # the timer sees to it
        finally:
            timer.cancel()
        promised = FINISHES in self.metadata and self._sent > 0 and not self._is_told
        if promised and self._call.code() is not grpc.StatusCode.OK:
            raise unused(self._driver, self._operation) if self._is_late else self._broken()

    def _give_up(self) -> None:
        """Wait no more for the exporter."""
        self._is_late = True
        self._call.cancel()

    def _read_to_the_end(self) -> None:
        try:
            for _ in self._call:
                pass
        except grpc.RpcError:
            return

    def abort(self) -> None:
        """End the stream at once: the peer sees an error, unless both directions had ended."""
        self._closed = True
        self._call.cancel()
        self._outgoing.end()


class _AsyncView(ObjectStream[bytes]):
    """The same stream for asynchronous code, which waits for it in threads."""

    def __init__(self, direct: DirectStream) -> None:
        self._direct = direct

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        attribute: Any = MetadataStreamAttributes.metadata  # a key, whatever type it declares
        return {attribute: lambda: self._direct.metadata}

    async def receive(self) -> bytes:
        return await to_thread.run_sync(self._direct.receive, abandon_on_cancel=True)

    async def send(self, item: bytes) -> None:
        await to_thread.run_sync(self._direct.send, item, abandon_on_cancel=True)

    async def send_eof(self) -> None:
        await to_thread.run_sync(self._direct.send_eof, abandon_on_cancel=True)

    async def aclose(self) -> None:
        await to_thread.run_sync(self._direct.close, abandon_on_cancel=True)


class _Outgoing:
    """The frames to send, of which gRPC's thread takes one after the other."""

    def __init__(self, joined: int = 0) -> None:
        """A frame of data is joined with the one before it that waits, where both have so many bytes at most."""
        self._joined = joined
        self._frames: deque[_Waiting | None] = deque()
        self._changed = threading.Condition()
        self.ended = threading.Event()
        """The call is over, whatever was sent."""

    def put(self, frame: Frame | None) -> bool:
        """Take a frame for sending, None for the last; waits while AHEAD wait. False when the call is over."""
        with self._changed:
            if self._join(frame):
                return not self.ended.is_set()
            self._changed.wait_for(lambda: len(self._frames) < AHEAD or self.ended.is_set())
            if self.ended.is_set():
                return False
            self._frames.append(None if frame is None else _Waiting(frame))
            self._changed.notify_all()
            return True

    def _join(self, frame: Frame | None) -> bool:
        last = self._frames[-1] if self._frames and self._joined else None
        if frame is None or last is None or last.frame.kind != frames.DATA or frame.kind != frames.DATA:
            return False
        if last.size + len(frame.payload) > self._joined:
            return False
        last.add(frame)
        return True

    def end(self) -> None:
        """Take and give no more."""
        with self._changed:
            self.ended.set()
            self._changed.notify_all()

    def __iter__(self) -> _Outgoing:
        return self

    def __next__(self) -> Frame:
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self.ended.is_set())
            waiting = self._frames.popleft() if self._frames else None
            self._changed.notify_all()
        if waiting is None:
            raise StopIteration
        return waiting.whole()


class _Waiting:
    """A frame that waits to be sent, and what was joined with it."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.size = len(frame.payload)
        self._more: list[bytes | memoryview] = []

    def add(self, frame: Frame) -> None:
        self._more.append(frame.payload)
        self.size += len(frame.payload)

    def whole(self) -> Frame:
        if not self._more:
            return self.frame
        return Frame(b"".join((self.frame.payload, *self._more)))
