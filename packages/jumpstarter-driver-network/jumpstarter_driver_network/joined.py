"""A local socket joined with a stream of a driver by two threads: no event loop is on the way of its bytes."""

import logging
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from jumpstarter.streams.common import CHUNK

from .listen import tcp_pair
from .streams import DELIVERY_TIMEOUT, set_tcp_options

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient
    from jumpstarter.streams.blocking import BlockingStream

END_TIMEOUT = 10.0
"""Seconds in which a thread ends whose socket and stream are closed."""

logger = logging.getLogger(__name__)


@contextmanager
def joined_socket(client: "DriverClient", method: str) -> Generator[socket.socket]:
    """A connected TCP socket meanwhile, whose other end is the driver's stream; the caller closes it.

    A stream that breaks resets it. Raises when the stream cannot be opened.
    """
    ours, theirs = tcp_pair()
    with theirs, ours:
        set_tcp_options(ours)
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # and no reset: the caller's last bytes arrive
        with client.stream(method) as stream:
            to_driver = threading.Thread(target=_send, args=(stream, ours), name="joined: send", daemon=True)
            from_driver = threading.Thread(
                target=_receive, args=(stream, ours, to_driver), name="joined: receive", daemon=True
            )
            to_driver.start()
            from_driver.start()
            try:
                yield theirs
                to_driver.join(DELIVERY_TIMEOUT)  # the caller's last bytes are on their way
            finally:
                _shut_down(ours, socket.SHUT_RDWR)  # neither waits for the caller any more
        for thread in (to_driver, from_driver):
            thread.join(END_TIMEOUT)


def _send(stream: "BlockingStream", sock: socket.socket) -> None:
    """Pass on what the local end says. Its end leaves the other direction open; the stream is closed afterwards."""
    try:
        while data := sock.recv(CHUNK):
            stream.send(data)
    except (OSError, BrokenResourceError, ClosedResourceError) as e:
        logger.debug("%s", e)  # who receives says why


def _receive(stream: "BlockingStream", sock: socket.socket, to_driver: threading.Thread) -> None:
    """Pass on what the driver says, and how it ends."""
    try:
        while True:
            sock.sendall(stream.receive())
    except EndOfStream:
        _shut_down(sock, socket.SHUT_WR)
    except (OSError, ClosedResourceError) as e:
        logger.debug("%s", e)  # the local end has left
    except Exception as e:  # noqa: BLE001 whoever is behind the socket learns it from there
        logger.debug("%s", e)
        _shut_down(sock, socket.SHUT_RD)
        to_driver.join(END_TIMEOUT)  # a socket that somebody reads is not reset by closing it
        sock.close()


def _shut_down(sock: socket.socket, how: int) -> None:
    with suppress(OSError):  # closed, or reset
        sock.shutdown(how)
