"""Byte streams inside a gRPC stream of the router protocol: frames of data, and GOAWAY for the end of one direction.

A clean end is a GOAWAY frame. The end of the call without one is an error: a peer that died looks like that.
A GOAWAY with the payload CLOSE says that its sender will not read any more either; other peers ignore payloads.

Most of a short stream's time is the begin and end of its call. Where both ends are ours, a client may ask for *quick*
streams, which follow one another in one call. The exporter says nothing when one is open. When both directions have
ended and all bytes are used, it says DONE, in place of a GOAWAY that it has not said yet; then the client may begin
another one by NEXT, whose payload is the request, a newline, and the first bytes where they are there already. A stream
that ends in any other way ends the call, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, cast
from zlib import crc32

import grpc
from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    WouldBlock,
    current_time,
    move_on_after,
)
from anyio.abc import AnyByteStream, ObjectStream

from . import frames
from .common import PeerClosed, broken, chunks_of, contained, end_stream, join_by_copying
from .frames import MAX_FRAME, Frame
from .memory import keep_freed_memory
from .metadata import MetadataStreamAttributes
from .pump import Call, Reader, Writer

logger = logging.getLogger(__name__)

T = TypeVar("T")

CLOSE = b"close"
"""Word in the payload of the GOAWAY of a sender that reads no more."""

SUM = b"sum"
"""Word in that payload that number and CRC-32 of all bytes follow, of a stream that is a file."""

FINISHES = "x_jmp_finishes"
"""Key of initial metadata by which an exporter says that it ends the call once all bytes are used; in the request of a
client, that it waits for that."""

QUICK = "x_jmp_quick"
"""Key in a request for a quick stream."""

FINISH_TIMEOUT = 5.0
"""Seconds that closing waits until a peer that says FINISHES has used all bytes."""

LINGER_TIMEOUT = 0.1
"""Seconds that closing leaves other peers, who never say so, before the call is cancelled."""

HALF_CLOSE_TIMEOUT = 1.0
"""Seconds in which a client half-closes after its GOAWAY."""

CANCEL_TIMEOUT = 0.2
"""Seconds in which an await of gRPC ends after its call was cancelled."""


def take_frame(frame: Frame) -> bytes | EndOfStream | None:
    """What a frame says: bytes, the peer's end, or nothing. Raises BrokenResourceError where the peer broke off."""
    payload, kind = frame
    match kind:
        case frames.DATA:
            return cast(bytes, payload)
        case frames.GOAWAY:
            return PeerClosed() if CLOSE in bytes(payload).split() else EndOfStream()
        case frames.RST_STREAM:
            raise broken("the peer reset the stream")
        case _ if kind != frames.PING:
            logger.debug("frame of unknown type %s ignored", kind)
        case _:
            pass
    return None


class RouterStream(ObjectStream[bytes]):
    """The byte stream inside a stream call, at the client's or the exporter's end.

    `context` is a grpc.aio stream call (client) or servicer context (exporter) of `Frame`s. `receive` raises
    EndOfStream only after the peer's GOAWAY, PeerClosed if that said that the peer reads no more, and
    BrokenResourceError for any other end.
    """

    def __init__(
        self,
        context: Call,
        name: str = "router stream",
        *,
        is_peer_ours: bool = True,
        summed: bool = False,
        quick: bool = False,
        request: bytes | None = None,
        first: bytes = b"",
    ) -> None:
        """`summed` checks what arrives against the peer's sum, where it sends one, and sends one itself.

        `request` begins a stream in a call that carried another one; `first` is what came with it.
        """
        keep_freed_memory()
        self._sum_received, self._sum_sent = (0, 0) if summed else (None, None)
        self._name = name  # of its tasks
        self._is_peer_ours = is_peer_ours or quick
        self._quick = quick
        self._request = request
        self._first = first
        self._is_done = False
        self._call = context
        self._client = cast(Any, context) if hasattr(context, "done_writing") else None
        self._reader, self._writer = Reader(context), Writer(context)
        self._metadata: dict[str, str] | None = None
        self._eof_received: EndOfStream | None = None
        self._eof_sent = False
        self._closed = False
        self._half_closed = False
        """Whether the client's end of its direction was followed by the end of its messages."""
        self._left: asyncio.Task[None] | None = None
        """At the exporter's end: what still reads after `join`, and throws away what comes."""
        self.reset: bytes | None = None
        """What the peer said when it reset the stream: of a quick one, a CallFailure."""
        self.received = 0
        """Bytes that came from the peer."""
        self.sent = 0
        """Bytes that were sent to it."""
        self.is_late = False
        """At the client's end: whether the device had not taken all of them when closing waited no more."""
        self.broke: Exception | None = None
        """What broke the stream while a client closed it, or before, where nobody was told."""
        self._is_told = False

    async def opened(self) -> dict[str, str]:
        """At the client's end: wait until the exporter has opened the stream, and return what it says of it."""
        if self._metadata is None:
            self._metadata = dict([*await self._client.initial_metadata()]) if self._client is not None else {}
        return self._metadata

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        attribute: Any = MetadataStreamAttributes.metadata  # a key, whatever type it declares
        return {attribute: lambda: self._metadata or {}}

    # bytes

    async def receive(self) -> bytes:
        """The payload of the next data frame."""
        while True:
            if self._closed:
                raise ClosedResourceError
            if self._eof_received is not None:
                raise self._eof_received
            try:
                await self._begin()
                frame = await self._reader.read()
            except Exception as e:
                self._is_told = True
                raise _broken_by(e) from e
            try:
                payload = await self._take(frame)
            except BrokenResourceError:
                self._is_told = True
                raise
            if payload is not None:
                return payload

    async def _take(self, frame: Any) -> bytes | None:
        """The payload of a data frame. Notes the peer's end, passes over what means nothing, raises for the rest."""
        if frame is grpc.aio.EOF:
            raise await self._call_ended()
        if self._quick and frame.kind == frames.DONE:
            self._eof_received, self._is_done = EndOfStream(), True
            return None
        if frame.kind == frames.RST_STREAM:
            self.reset = bytes(frame.payload)
        taken = take_frame(frame)
        if isinstance(taken, EndOfStream):
            self._check_sum(bytes(frame[0]).split())
            self._eof_received = taken
            return None
        if taken is not None:
            self.received += len(taken)
            if self._sum_received is not None:
                self._sum_received = crc32(taken, self._sum_received)
        return taken

    def _check_sum(self, words: list[bytes]) -> None:
        """Raise where the bytes that came are not those that the peer has sent."""
        if SUM not in words or self._sum_received is None:
            return
        sent, found = words[words.index(SUM) + 1 :][:2], [b"%d" % self.received, b"%08x" % self._sum_received]
        if sent != found:
            raise broken("bytes were lost or changed on their way; send it again")

    def _sum(self, data: bytes | memoryview) -> None:
        """Count bytes that are sent."""
        self.sent += len(data)
        if self._sum_sent is not None:
            self._sum_sent = crc32(data, self._sum_sent)

    def _last_words(self, *words: bytes) -> bytes:
        """The payload of our GOAWAY."""
        sums = (SUM, b"%d" % self.sent, b"%08x" % self._sum_sent) if self._sum_sent is not None else ()
        return b" ".join((*words, *sums))

    async def _call_ended(self) -> BrokenResourceError:
        if self._client is None:
            return broken("the client is gone")
        code, details = await self._client.code(), await self._client.details()
        return broken(f"the exporter ended the stream: {details or code.name}")

    async def send(self, item: bytes) -> None:
        """Send bytes in one frame, or in several of at most MAX_FRAME; waits while the peer does not keep up."""
        if self._closed or self._eof_sent:
            raise ClosedResourceError
        view = memoryview(item)
        try:
            await self._begin()
            await self._writer.write(Frame(view[:MAX_FRAME]))
            for start in range(MAX_FRAME, len(item), MAX_FRAME):
                await self._writer.write(Frame(view[start : start + MAX_FRAME]))
        except Exception as e:
            self._is_told = True
            raise _broken_by(e) from e
        self._sum(item)

    async def _begin(self) -> None:
        """Ask for the stream, where its call carried another one before, and `join` has not."""
        request, self._request = self._request, None
        if request is not None:
            await self._writer.write(Frame(request, frames.NEXT))

    async def send_eof(self) -> None:
        """Say that no more bytes follow; what the peer still sends can be received."""
        await self._goaway()

    async def _goaway(self, *words: bytes) -> None:
        if self._eof_sent or self._closed:
            return
        self._eof_sent = True
        if await self._ends_with_call():
            return
        try:
            await self._begin()
            await self._writer.write(Frame(self._last_words(*words), frames.GOAWAY))
            await self._writer.finish()
        except Exception as e:
            raise _broken_by(e) from e

    # both directions at once

    async def join(self, other: AnyByteStream) -> None:
        """Copy both ways between this stream and another until both directions have ended; see `join_streams`.

        The shortest way for the bytes: one task for each direction awaits gRPC itself. Such an await is never
        cancelled, it ends with the call.
        """
        if self._reader.is_started or self._writer.is_started:  # they have frames that come first
            await join_by_copying(self, other)
            return
        reading, sending = _Copy(self._copy_to, other, self._name), _Copy(self._copy_from, other, self._name)
        try:
            done, _ = await asyncio.wait((reading.task, sending.task), return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await self._stop(reading, sending)
            self._left = None if reading.task.done() else reading.task
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, PeerClosed):
                raise error

    async def _copy_to(self, other: AnyByteStream, copy: _Copy) -> None:
        """Copy what the peer sends, then end `other` that way; raises PeerClosed when the peer reads no more either."""
        if self._first:
            self.received += len(self._first)
            await other.send(self._first)
        while self._eof_received is None:
            payload = await self._take(await copy.grpc(self._call.read()))
            if payload is not None and self._left is None:
                await other.send(payload)
        if self._left is not None:
            return
        await end_stream(other)
        if isinstance(self._eof_received, PeerClosed):
            raise self._eof_received

    async def _copy_from(self, other: AnyByteStream, copy: _Copy) -> None:
        """Copy what comes from `other`, then say GOAWAY."""
        if self._request is not None:
            (request, self._request), first = (self._request, None), _at_hand(other)
            await copy.grpc(self._call.write(Frame(b"\n".join((request, first)), frames.NEXT)))
            self.sent += len(first)
        async for chunk in chunks_of(other, MAX_FRAME):
            await copy.grpc(self._call.write(Frame(chunk)))
            self._sum(chunk)
        self._eof_sent = True
        if self._quick and self._client is None and self._eof_received is not None:
            return  # DONE says it
        if await self._ends_with_call():
            return
        await copy.grpc(self._call.write(Frame(self._last_words(), frames.GOAWAY)))
        if self._client is not None and not self._quick:
            await copy.grpc(self._client.done_writing())

    async def _stop(self, *copies: _Copy) -> None:
        """End the copies that have not ended and wait for them; but an exporter's await of gRPC ends with its call."""
        ending = [
            copy.task for copy in copies if not copy.task.done() and (not copy.in_grpc or self._client is not None)
        ]
        for copy in copies:
            if copy.task in ending:
                if copy.in_grpc:
                    self.abort()
                else:
                    copy.task.cancel()
        if not ending:
            return
        with CancelScope(shield=True):
            _, stuck = await asyncio.wait(ending, timeout=CANCEL_TIMEOUT)
            for task in stuck:  # grpcio 1.85: a write before the call's start is not told that the call was cancelled
                task.cancel()
            if stuck:
                await asyncio.wait(stuck)

    # the end

    @property
    def leaves_call(self) -> bool:
        """Whether the stream is over and its call could carry another one, after the exporter's DONE."""
        started = self._reader.is_started or self._writer.is_started
        if not self._quick or started or not self._eof_sent or isinstance(self._eof_received, PeerClosed):
            return False
        return self._is_done if self._client is not None else self._eof_received is not None

    async def aclose(self) -> None:
        """End the stream cleanly, after all that was sent has arrived.

        A client waits a bounded time until the exporter has used the bytes, and then cancels the call; `is_late` and
        `broke` say whether it has. An exporter says GOAWAY if it has not, and waits as long for the client to end its
        direction; its call ends when the handler returns.
        """
        if self._closed:
            return
        try:
            if self._client is None:
                if not self.leaves_call:
                    with move_on_after(FINISH_TIMEOUT):
                        await self._goaway(CLOSE)
                        await self._drained()
            elif not (self._eof_sent and self._is_done):
                await self._close_client()
        except Exception:
            logger.debug("stream ended before it was closed", exc_info=True)
        finally:
            self.abort()

    async def _close_client(self) -> None:
        """Say the end, and wait until the exporter has used all bytes, as far as it tells when it has."""
        is_promised = self._quick or FINISHES in (self._metadata or {})
        with move_on_after(FINISH_TIMEOUT) as scope:
            try:
                await self._goaway(CLOSE)
                is_promised = is_promised or FINISHES in await self.opened()
                if not is_promised:
                    scope.deadline = min(scope.deadline, current_time() + LINGER_TIMEOUT)
                await self._finished()
            except Exception as e:
                if is_promised and self.sent and not self._is_told:
                    self.broke = _broken_by(e)
                raise
        self.is_late = scope.cancelled_caught and is_promised and self.sent > 0 and not self._is_told

    async def _drained(self) -> None:
        """Take what a client still sends, until it half-closes: it would fail to write where the call is over."""
        if self._left is not None:
            await asyncio.wait((self._left,))
        while not self._half_closed:
            self._half_closed = await self._reader.read() is grpc.aio.EOF

    async def _ends_with_call(self) -> bool:
        """At the exporter's end: whether the end of the call will do in place of a GOAWAY.

        The clients of others take it for one. They never cancel a call, so that a GOAWAY that they do not read any more
        keeps its stream open at their end, and after some hundreds of those they cannot open another.
        """
        if self._client is not None or self._is_peer_ours or self._eof_received is None:
            return False
        with move_on_after(HALF_CLOSE_TIMEOUT):
            self._half_closed = await self._reader.read() is grpc.aio.EOF
        return self._half_closed

    async def _finished(self) -> None:
        """Wait until the exporter has used all bytes, reading on where it may still be sending."""
        if self._eof_received is None or self._quick:
            while (frame := await self._reader.read()) is not grpc.aio.EOF and frame.kind != frames.DONE:
                if frame.kind == frames.RST_STREAM:
                    await self._take(frame)
            if self._quick and frame is not grpc.aio.EOF:
                return
        if await cast(Any, self._client).code() is not grpc.StatusCode.OK:
            raise await self._call_ended()

    def abort(self) -> None:
        """End the stream at once, without a clean end: the peer sees an error unless both directions had ended."""
        self._closed = True
        if self._client is not None and not self.leaves_call:
            self._client.cancel()
        self._reader.stop()
        self._writer.stop()


class _Copy:
    """A task that copies one direction of a stream, and whether it awaits gRPC at the moment."""

    def __init__(
        self, copy: Callable[[AnyByteStream, _Copy], Coroutine[Any, Any, None]], other: AnyByteStream, name: str
    ) -> None:
        self.in_grpc = False
        self.task = asyncio.create_task(contained(copy(other, self)), name=name)
        self.task.add_done_callback(retrieve)

    async def grpc(self, awaitable: Awaitable[T]) -> T:
        """Await an operation of gRPC; raises what it raises as the error of a stream."""
        self.in_grpc = True
        try:
            result = await awaitable
        except asyncio.CancelledError:  # by the call: nobody else cancels this task now
            raise broken("the stream was cancelled") from None
        except Exception as e:
            raise _broken_by(e) from e
        self.in_grpc = False
        return result


def _at_hand(stream: AnyByteStream) -> bytes:
    """What has come from a stream already, as far as it can tell."""
    receive = getattr(stream, "receive_nowait", None)
    if receive is None:
        return b""
    try:
        return receive()
    except (WouldBlock, EndOfStream):  # the end is there when it is asked for again
        return b""


def _broken_by(error: Exception) -> Exception:
    """The error of a stream for the error of its call; grpcio raises InvalidStateError and others after the end."""
    if isinstance(error, BrokenResourceError):
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        return broken(error.details() or error.code().name, error)
    if isinstance(error, ConnectionAbortedError):
        return broken(str(error), error)
    return broken("the peer has ended the stream", error)


def retrieve(future: asyncio.Future[Any]) -> None:
    """Take the outcome of a task that nobody waits for any more, so that it is not reported as forgotten."""
    if not future.cancelled():
        future.exception()
