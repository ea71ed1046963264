"""Byte streams inside a gRPC stream of the router protocol: frames of data, and GOAWAY for the end of one direction.

A clean end is a GOAWAY frame. The end of the call without one is an error: a peer that died looks like that.
A GOAWAY with the payload CLOSE says that its sender will not read any more either; other peers ignore payloads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

import grpc
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, move_on_after
from anyio.abc import ObjectStream
from jumpstarter_protocol.jumpstarter.v1 import router_pb2

from .common import PeerClosed, broken
from .metadata import MetadataStreamAttributes
from .pump import Call, Reader, Writer

logger = logging.getLogger(__name__)

CLOSE = b"close"
"""Payload of the GOAWAY of a sender that reads no more."""

FINISHES = "x_jmp_finishes"
"""Key of initial metadata by which an exporter says that it ends the call once all bytes are used."""

MAX_FRAME = 1 << 20
"""Most bytes that one frame carries; gRPC's limit for a message is 4 MiB."""

FINISH_TIMEOUT = 5.0
"""Seconds that closing waits until a peer that says FINISHES has used all bytes."""

LINGER_TIMEOUT = 0.1
"""Seconds that closing leaves other peers, who never say so, before the call is cancelled."""

Frame = router_pb2.StreamRequest | router_pb2.StreamResponse


class RouterStream(ObjectStream[bytes]):
    """The byte stream inside a stream call, at the client's or the exporter's end.

    `context` is a grpc.aio stream call (client) or servicer context (exporter). `receive` raises EndOfStream only after
    the peer's GOAWAY, PeerClosed if that said that the peer reads no more, and BrokenResourceError for any other end.
    """

    def __init__(self, context: Call, metadata: Mapping[str, str] | None = None) -> None:
        self._call = context
        self._client = cast(Any, context) if hasattr(context, "done_writing") else None
        self._metadata = dict(metadata or {})
        self._message = router_pb2.StreamRequest if self._client is not None else router_pb2.StreamResponse
        self._reader, self._writer = Reader(context), Writer(context)
        self._eof_received: EndOfStream | None = None
        self._eof_sent = False
        self._closed = False

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        attribute: Any = MetadataStreamAttributes.metadata  # a key, whatever type it declares
        return {attribute: lambda: self._metadata}

    @property
    def is_ended(self) -> bool:
        """Whether the peer has said cleanly that no more bytes come."""
        return self._eof_received is not None

    async def receive(self) -> bytes:
        """The payload of the next data frame."""
        while True:
            if self._closed:
                raise ClosedResourceError
            if self._eof_received is not None:
                raise self._eof_received
            frame = await self._read()
            match frame.frame_type:
                case router_pb2.FRAME_TYPE_DATA:
                    return frame.payload
                case router_pb2.FRAME_TYPE_GOAWAY:
                    self._eof_received = PeerClosed() if frame.payload == CLOSE else EndOfStream()
                case router_pb2.FRAME_TYPE_RST_STREAM:
                    raise broken("the peer reset the stream")
                case router_pb2.FRAME_TYPE_PING:
                    continue
                case other:
                    logger.debug("frame of unknown type %s ignored", other)

    async def send(self, item: bytes) -> None:
        """Send bytes in frames of at most MAX_FRAME; waits while the peer does not keep up."""
        if self._closed or self._eof_sent:
            raise ClosedResourceError
        if len(item) <= MAX_FRAME:
            await self._write(self._message(payload=item))
            return
        view = memoryview(item)
        for start in range(0, len(item), MAX_FRAME):
            await self._write(self._message(payload=bytes(view[start : start + MAX_FRAME])))

    async def send_eof(self) -> None:
        """Say that no more bytes follow; what the peer still sends can be received."""
        await self._goaway(b"")

    async def _goaway(self, payload: bytes) -> None:
        if self._eof_sent or self._closed:
            return
        self._eof_sent = True
        await self._write(self._message(payload=payload, frame_type=router_pb2.FRAME_TYPE_GOAWAY))
        try:
            await self._writer.finish()
        except Exception as e:
            raise _broken_by(e) from e

    async def aclose(self) -> None:
        """End the stream cleanly, after all that was sent has arrived.

        A client waits a bounded time until the exporter has used the bytes, and then cancels the call. An exporter says
        GOAWAY if it has not; its call ends when the handler returns.
        """
        if self._closed:
            return
        try:
            if self._client is None:
                with move_on_after(FINISH_TIMEOUT):
                    await self._goaway(CLOSE)
            else:
                finishes = FINISHES in self._metadata
                with move_on_after(FINISH_TIMEOUT if finishes else LINGER_TIMEOUT):
                    await self._goaway(CLOSE)
                    await self._drain()
        except BrokenResourceError:
            logger.debug("stream ended before it was closed", exc_info=True)
        finally:
            self.abort()

    async def _drain(self) -> None:
        """Read on until the call ends, so that its end is not taken from the exporter while it uses our last bytes."""
        try:
            while True:
                await self._read()
        except BrokenResourceError:
            return

    def abort(self) -> None:
        """End the stream at once, without a clean end: the peer sees an error unless both directions had ended."""
        self._closed = True
        if self._client is not None:
            self._client.cancel()
        self._reader.stop()
        self._writer.stop()

    async def _read(self) -> Frame:
        """The next frame; BrokenResourceError at the end of the call."""
        try:
            frame = await self._reader.read()
        except Exception as e:
            raise _broken_by(e) from e
        if frame is grpc.aio.EOF:
            raise await self._call_ended()
        return cast(Frame, frame)

    async def _call_ended(self) -> BrokenResourceError:
        if self._client is None:
            return broken("the client is gone")
        code, details = await self._client.code(), await self._client.details()
        return broken(f"the exporter ended the stream: {details or code.name}")

    async def _write(self, message: Frame) -> None:
        try:
            await self._writer.write(message)
        except Exception as e:
            raise _broken_by(e) from e


def _broken_by(error: Exception) -> BrokenResourceError:
    """The error of a stream for the error of its call; grpcio raises InvalidStateError and others after the end."""
    if isinstance(error, grpc.aio.AioRpcError):
        return broken(error.details() or error.code().name, error)
    if isinstance(error, ConnectionAbortedError):
        return broken(str(error), error)
    return broken("the peer has ended the stream", error)
