"""Connections from the exporter's host to a service, whose failures say which service and what to do."""

import errno
import os
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from anyio import fail_after, getaddrinfo, sleep, wait_writable
from jumpstarter.common.address import host_port

from .streams import DatagramStream, SocketStream

CONNECT_TIMEOUT = 10.0
"""Seconds until a service that does not answer is given up."""

Address = tuple[Any, ...]


@asynccontextmanager
async def connect_tcp(host: str, port: int) -> AsyncGenerator[SocketStream]:
    """A connection to a TCP port; all addresses of the host are tried in turn."""
    target = f"tcp {host_port(host, port)}"
    with _explained(target):
        stream = SocketStream(await _connected(host, port, socket.SOCK_STREAM), target)
    async with stream:
        yield stream


@asynccontextmanager
async def connect_udp(host: str, port: int) -> AsyncGenerator[DatagramStream]:
    """A socket that exchanges datagrams with a UDP port."""
    target = f"udp {host_port(host, port)}"
    with _explained(target):
        stream = DatagramStream(await _connected(host, port, socket.SOCK_DGRAM), target)
    async with stream:
        yield stream


@asynccontextmanager
async def connect_unix(path: str) -> AsyncGenerator[SocketStream]:
    """A connection to a unix stream socket; a path that begins with a NUL is an abstract name (unix(7))."""
    target = f"unix {path.replace(chr(0), '@')}"
    with _explained(target), fail_after(CONNECT_TIMEOUT):
        stream = SocketStream(await _opened(socket.AF_UNIX, socket.SOCK_STREAM, path), target)
    async with stream:
        yield stream


@asynccontextmanager
async def connect_vsock(cid: int, port: int) -> AsyncGenerator[SocketStream]:
    """A connection to a port of a virtual machine or of its host."""
    target = f"vsock {cid}:{port}"
    with _explained(target), fail_after(CONNECT_TIMEOUT):
        stream = SocketStream(await _opened(socket.AF_VSOCK, socket.SOCK_STREAM, (cid, port)), target)
    async with stream:
        yield stream


def resolve(host: str, port: int, kind: socket.SocketKind) -> str:
    """`address:port` of the address that is tried first. Waits for the name service."""
    with _explained(host_port(host, port)):
        address = socket.getaddrinfo(host, port, type=kind)[0][4]
    return host_port(str(address[0]), port)


async def _connected(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    addresses = await _addresses(host, port, kind)
    failure: OSError | None = None
    for family, address in addresses:
        try:
            with fail_after(CONNECT_TIMEOUT / len(addresses)):
                return await _opened(family, kind, address)
        except OSError as e:
            failure = failure or e
    raise failure or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


async def _addresses(host: str, port: int, kind: socket.SocketKind) -> list[tuple[int, Address]]:
    try:  # an address needs no name service, and so no thread
        found: list[Any] = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        with fail_after(CONNECT_TIMEOUT):
            found = await getaddrinfo(host, port, type=kind)
    return [(family, address) for family, _, _, _, address in found]


async def _opened(family: int, kind: socket.SocketKind, address: Address | str) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        await _connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(sock: socket.socket, address: Address | str) -> None:
    while True:
        try:
            sock.connect(address)
        except BlockingIOError as e:
            if e.errno == errno.EAGAIN and sock.family == socket.AF_UNIX:
                await sleep(0.01)  # its backlog is full, and nothing tells when it is not (connect(2))
                continue
            await wait_writable(sock)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code)) from None
        return


@contextmanager
def _explained(target: str) -> Generator[None]:
    """Say what a failure to connect means: which service, and what to look at."""
    try:
        yield
    except ConnectionRefusedError as e:
        raise ConnectionRefusedError(f"{target} refused the connection; {_where_to_look(target)}") from e
    except socket.gaierror as e:
        raise ConnectionError(f"{target}: name not found ({e.strerror}); check the driver's host") from e
    except TimeoutError as e:
        raise TimeoutError(f"{target} did not answer; {_is_it_there(target)}") from e
    except FileNotFoundError as e:
        raise FileNotFoundError(f"{target} does not exist; {_where_to_look(target)}") from e
    except PermissionError as e:
        raise PermissionError(f"{target}: permission denied; may the exporter's user use it?") from e
    except OSError as e:
        reason = e.strerror or str(e)
        raise ConnectionError(f"{target}: {reason}; {_is_it_there(target)}") from e


def _is_it_there(target: str) -> str:
    if target.startswith("vsock "):
        return "does the virtual machine run, with a vsock device of that cid?"
    return "is the board powered and on the network?"


def _where_to_look(target: str) -> str:
    path = target.removeprefix("unix ")
    if path != target and Path(path).exists() and not Path(path).is_socket():
        return "it is not a socket"
    return "is the service running" + ("?" if path != target else " on the board?")
