"""Sockets as byte streams, which pass on what the other side of a tunnel saw: bytes, an end, or a break.

A socket that is closed before an end was sent on it, by us or by the system for a dead process, is reset, so that the
program behind it never takes a broken tunnel for the end of the data. Unix sockets cannot be reset; there a break looks
like an end (unix(7)).
"""

import asyncio
import errno
import fcntl
import logging
import socket
import struct
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from anyio import (
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfStream,
    WouldBlock,
    move_on_after,
    notify_closing,
    sleep,
    wait_readable,
    wait_writable,
)
from anyio.abc import ByteStream, ObjectStream, SocketAttribute
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled
from jumpstarter.streams.common import CHUNK, MIN_CHUNK

DELIVERY_TIMEOUT = 1.0
"""Seconds that closing a socket waits until its peer has all bytes."""

MAX_DATAGRAM = 65535

_LOST = {errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH}
"""What receiving says of a datagram that was sent before; the socket is as good as it was."""

_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds of silence until the first probe (Linux's name and macOS's), seconds between probes, and their number."""

_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds (socket(7))
_NO_RESET = struct.pack("ii", 0, 0)

logger = logging.getLogger(__name__)


class SocketBroken(BrokenResourceError):
    """The connection of a socket broke; the text says which one, and why."""


class Arrivals:
    """Receives from a socket once something comes.

    It stays registered with the event loop between two waits, and receives where the loop calls it: a wait with
    `wait_readable` registers and unregisters each time, which takes longer than all the rest of a small message's way.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop: asyncio.AbstractEventLoop | None = None  # while it is registered
        self._waiter: asyncio.Future[bytes] | None = None
        self._size = 0
        self._left: bytes | OSError | None = None

    def receive_nowait(self, size: int) -> bytes:
        """As `receive`, but WouldBlock where nothing has come yet."""
        if isinstance(self._left, OSError):
            error, self._left = self._left, None
            raise error
        if self._left is not None:
            data, self._left = self._left[:size], self._left[size:] or None
            return data
        try:
            return self._sock.recv(size)
        except BlockingIOError:
            raise WouldBlock from None

    async def receive(self, size: int) -> bytes:
        """What has come, at most so many bytes; none at the end. Raises OSError."""
        if self._waiter is not None:
            raise BusyResourceError("reading from")
        try:
            return self.receive_nowait(size)
        except WouldBlock:
            pass
        loop = asyncio.get_running_loop()
        self._size, self._waiter = size, loop.create_future()
        if self._loop is None:
            self._loop = loop
            loop.add_reader(self._sock, self._ready)
        waiter = self._waiter
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it came at the same moment
                error = waiter.exception()
                self._left = waiter.result() if error is None else error if isinstance(error, OSError) else None
            raise
        finally:
            self._waiter = None

    def _ready(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._unregister()
            return
        try:
            waiter.set_result(self._sock.recv(self._size))
        except BlockingIOError:
            pass
        except OSError as e:
            waiter.set_exception(e)

    def _unregister(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._sock)
            self._loop = None

    def close(self) -> None:
        """Wait no longer; who does gets ClosedResourceError. The socket may be closed after that."""
        self._unregister()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ClosedResourceError())


class SocketStream(ByteStream):
    """A connected stream socket. Closing it before its end was sent resets the connection.

    `name` says in errors whose connection broke.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        sock.setblocking(False)
        self._name = name
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            set_tcp_options(sock)
        self._sock = sock
        self._arrivals = Arrivals(sock)
        self._eof_sent = False
        self._eof_received = False
        self._closed = False
        self._break = ""  # why the connection broke: the system says it once, and then that all data has come

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {SocketAttribute.raw_socket: lambda: self._sock}

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        if self._closed:
            raise ClosedResourceError
        try:
            return self._or_end(await self._arrivals.receive(max_bytes))
        except OSError as e:
            raise self._broken(e) from None

    def _or_end(self, data: bytes) -> bytes:
        if not data:
            if self._break and not self._eof_received:
                raise SocketBroken(self._break)
            self._eof_received = True
            raise EndOfStream
        return data

    def receive_nowait(self, max_bytes: int = MIN_CHUNK) -> bytes:
        """As `receive`, but WouldBlock where nothing has come yet."""
        if self._closed:
            raise ClosedResourceError
        try:
            return self._or_end(self._arrivals.receive_nowait(max_bytes))
        except OSError as e:
            raise self._broken(e) from None

    async def send(self, item: bytes) -> None:
        rest = memoryview(item)
        while rest:
            if self._closed or self._eof_sent:
                raise ClosedResourceError
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                await wait_writable(self._sock)
            except OSError as e:
                raise self._broken(e) from None

    async def send_eof(self) -> None:
        if self._closed or self._eof_sent:
            return
        self._eof_sent = True
        with suppress(OSError):  # the peer is gone, as the next receive says
            self._sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Reset the connection: whatever was under way, the peer sees an error."""
        if self._closed:
            return
        self._closed = True
        self._close()

    async def aclose(self) -> None:
        """Close; a connection whose end was not sent is reset, any other one has its bytes delivered."""
        if not self._eof_sent:
            self.abort()
        if self._closed:
            return
        try:
            with suppress(OSError):  # the peer is gone
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RESET)
            if not self._eof_received:
                with move_on_after(DELIVERY_TIMEOUT, shield=True):
                    await self._delivered()
        finally:
            self._closed = True
            self._close()

    async def _delivered(self) -> None:
        """Wait until the peer has all bytes: closing with unread ones in our buffer would throw away what it lacks."""
        with suppress(OSError):
            while not self._eof_received and _unsent(self._sock):
                with suppress(BlockingIOError):
                    if not self._sock.recv(CHUNK):
                        return
                await sleep(0.01)

    def _broken(self, error: OSError) -> SocketBroken:
        self._break = self._break or f"{self._name}: {_reason(error)}"
        return SocketBroken(self._break)

    def _close(self) -> None:
        self._eof_received = True
        self._arrivals.close()
        notify_closing(self._sock)
        self._sock.close()


class DatagramStream(ObjectStream[bytes]):
    """A connected datagram socket: one item is one datagram, an empty one too.

    A datagram that the network refuses is lost, as any may be; the first loss is logged.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._name = name
        self._closed = False
        self._warned = False

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {SocketAttribute.raw_socket: lambda: self._sock}

    async def receive(self) -> bytes:
        await checkpoint_if_cancelled()
        while True:
            if self._closed:
                raise ClosedResourceError
            try:
                return self._sock.recv(MAX_DATAGRAM)
            except BlockingIOError:
                await wait_readable(self._sock)
            except OSError as e:
                if e.errno not in _LOST:
                    raise SocketBroken(f"{self._name}: {_reason(e)}") from None
                self._lost(e)

    async def send(self, item: bytes) -> None:
        await checkpoint_if_cancelled()
        while True:
            if self._closed:
                raise ClosedResourceError
            try:
                self._sock.send(item)
            except BlockingIOError:
                await wait_writable(self._sock)
                continue
            except OSError as e:
                if e.errno == errno.EMSGSIZE:
                    raise SocketBroken(f"{self._name}: {len(item)} bytes do not fit a datagram; send less") from None
                self._lost(e)
            await cancel_shielded_checkpoint()
            return

    async def send_eof(self) -> None:
        """Nothing: datagrams have no end."""

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            notify_closing(self._sock)
            self._sock.close()

    def _lost(self, error: OSError) -> None:
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        logger.log(level, "%s: a datagram was lost: %s", self._name, _reason(error))


def set_tcp_options(sock: socket.socket) -> None:
    """Send at once, notice within half a minute that a peer lost its power or network, and reset what we do not end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _unsent(sock: socket.socket) -> int:
    """Bytes that the peer's system does not have yet."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))
    return count


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
