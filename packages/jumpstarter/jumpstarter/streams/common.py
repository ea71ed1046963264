"""Joining two byte streams, with back-pressure and half-close."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress

from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    create_task_group,
)
from anyio.abc import (
    AnyByteReceiveStream,
    AnyByteSendStream,
    AnyByteStream,
    ByteReceiveStream,
    ObjectStream,
    SocketAttribute,
)

CHUNK = 1 << 20
"""Most bytes that are read from a byte stream at once; fewer while fewer come."""

MIN_CHUNK = 64 * 1024

MEMORY_STREAM_ITEMS = 32
"""Items that a memory stream holds each way."""


class PeerClosed(EndOfStream):
    """The peer sent its last byte and will read no more, so the stream ends both ways."""


async def copy_stream(dst: AnyByteSendStream, src: AnyByteReceiveStream) -> None:
    """Copy until `src` ends, then end `dst` that way. Errors of either side are raised: a cut never looks like an end.

    Raises PeerClosed, after ending `dst`, when the peer behind `src` reads no more either.
    """
    closed: PeerClosed | None = None
    try:
        async for chunk in chunks_of(src):
            await dst.send(chunk)
    except PeerClosed as e:
        closed = e
    await end_stream(dst)
    if closed is not None:
        raise closed


async def chunks_of(src: AnyByteReceiveStream, most: int = CHUNK) -> AsyncGenerator[bytes]:
    """What comes from a stream until it ends; of a byte stream at most `most` bytes at once, and fewer while few come.

    Raises PeerClosed at an end after which the peer reads no more, and whatever breaks the stream.
    """
    try:
        if not isinstance(src, ByteReceiveStream):
            while True:
                yield await src.receive()
        size = MIN_CHUNK
        while True:
            data = await src.receive(size)
            yield data
            size = min(4 * size, most) if len(data) == size else MIN_CHUNK if 4 * len(data) < size else size
    except PeerClosed:
        raise
    except EndOfStream:
        return


async def contained(copy: Awaitable[None]) -> None:
    """Await a copy in a task of its own, where a device's SystemExit would end the event loop instead of the stream."""
    try:
        await copy
    except (SystemExit, KeyboardInterrupt) as e:
        raise broken(f"{type(e).__name__}: {e}", e) from e


async def end_stream(stream: AnyByteSendStream) -> None:
    """Half-close, where the stream can; a device that is gone by then has nothing more to be told."""
    if send_eof := getattr(stream, "send_eof", None):
        try:
            await send_eof()
        except (AttributeError, NotImplementedError, OSError, ClosedResourceError):
            return


async def join_streams(a: AnyByteStream, b: AnyByteStream) -> None:
    """Copy both ways until both directions have ended.

    The end of one direction leaves the other open. An error in one ends both and is raised; neither stream is closed.
    """
    for one, other in ((a, b), (b, a)):
        if join := getattr(one, "join", None):  # a stream that knows a shorter way
            await join(other)
            return
    await join_by_copying(a, b)


async def join_by_copying(a: AnyByteStream, b: AnyByteStream) -> None:
    """`join_streams` for any two streams."""
    failure: list[BaseException] = []
    async with create_task_group() as tasks:
        scope = tasks.cancel_scope

        async def copy(dst: AnyByteStream, src: AnyByteStream) -> None:
            try:
                await contained(copy_stream(dst, src))
            except PeerClosed:
                scope.cancel()
            except Exception as e:  # noqa: BLE001 raised by the joined call, without the task group's wrapping
                failure.append(e)
                scope.cancel()

        tasks.start_soon(copy, b, a)
        tasks.start_soon(copy, a, b)
    if failure:
        raise failure[0]


def abort_stream(stream: object) -> None:
    """Make the end of a stream an error for its peer, where it can be one: a TCP socket is reset instead of closed."""
    if abort := getattr(stream, "abort", None):
        abort()
    elif extra := getattr(stream, "extra", None):
        sock = extra(SocketAttribute.raw_socket, None)
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def forward_stream(a: AnyByteStream, b: AnyByteStream) -> AsyncGenerator[None]:
    """Own two streams and join them meanwhile; leaving the context waits for both directions to end.

    Raises what broke one of them, after closing both.
    """
    failure: list[Exception] = []

    async def join() -> None:
        try:
            await join_streams(a, b)
        except Exception as e:  # noqa: BLE001 raised below, without the task group's wrapping
            failure.append(e)
            for stream in (a, b):  # now: what the body waits for may wait for them
                abort_stream(stream)

    try:
        async with create_task_group() as tasks:
            tasks.start_soon(join)
            try:
                yield
            except Exception as e:  # noqa: BLE001 raised below, without the task group's wrapping
                failure.append(e)
                tasks.cancel_scope.cancel()
    finally:
        with CancelScope(shield=True):
            for stream in (a, b):
                if failure:
                    abort_stream(stream)
                await stream.aclose()
    if failure:
        raise failure[0]


def create_memory_stream() -> tuple[ObjectStream[bytes], ObjectStream[bytes]]:
    """The two ends of a duplex pipe in memory; a full direction makes its sender wait."""
    from anyio import create_memory_object_stream
    from anyio.streams.stapled import StapledObjectStream  # no exporter needs it to start

    a_send, b_receive = create_memory_object_stream[bytes](MEMORY_STREAM_ITEMS)
    b_send, a_receive = create_memory_object_stream[bytes](MEMORY_STREAM_ITEMS)
    return StapledObjectStream(a_send, a_receive), StapledObjectStream(b_send, b_receive)


def broken(message: str, cause: BaseException | None = None) -> BrokenResourceError:
    """A BrokenResourceError that says why."""
    error = BrokenResourceError(message)
    error.__cause__ = cause
    return error
