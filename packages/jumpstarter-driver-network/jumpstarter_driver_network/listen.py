"""Local sockets that wait for connections."""

import errno
import logging
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from anyio import create_task_group, get_cancelled_exc_class, sleep, wait_readable
from anyio.abc import TaskGroup
from jumpstarter.common.address import host_port
from jumpstarter.common.exceptions import ArgumentError, BusyError

from .streams import SocketStream

BACKLOG = 1024
"""Connections that wait to be accepted; the system may allow fewer."""

Handler = Callable[[SocketStream], Coroutine[Any, Any, object]]

logger = logging.getLogger(__name__)


@contextmanager
def listening_on_tcp(host: str, port: int) -> Generator[socket.socket]:
    """A listening socket, on IPv4 where a name has both kinds of address; port 0 takes any free one.

    Raises BusyError when the port is taken, ArgumentError when it can never be had.
    """
    shown = host_port(host, port)
    if not 0 <= port <= 65535:
        raise ArgumentError(f"cannot listen on {shown}: a port is 0 to 65535")
    with _explained(shown, "choose another port, or 0 for a free one"):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    with listener:
        yield listener


@contextmanager
def listening_on_unix(path: Path) -> Generator[socket.socket]:
    """A listening socket that only this user can use, removed at the end; one that nobody serves any more is replaced.

    Raises BusyError when the path is taken, ArgumentError when it can never be had.
    """
    with _explained(str(path), "choose another path"):
        listener = _bound(path)
    try:
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    if path.is_socket() and not _is_served(path):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)  # nobody can connect before it listens
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


@contextmanager
def _explained(where: str, way_out: str) -> Generator[None]:
    try:
        yield
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise BusyError(f"{where} is in use; {way_out}") from e
        raise ArgumentError(f"cannot listen on {where}: {e.strerror or e}") from e


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection: unlike those of a `socketpair`, they can be reset."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        ours = socket.create_connection(listener.getsockname())
        try:
            while True:
                theirs, address = listener.accept()
                if address == ours.getsockname():
                    return ours, theirs
                theirs.close()  # somebody else was faster
        except BaseException:
            ours.close()
            raise


@asynccontextmanager
async def accepting(listener: socket.socket, handle: Handler) -> AsyncGenerator[None]:
    """Serve the connections of a listening socket, each by `handle(stream)` in a task that ends with the context."""
    listener.setblocking(False)
    async with meanwhile(_accept, listener, handle):
        yield


@asynccontextmanager
async def meanwhile(function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> AsyncGenerator[None]:
    """Run a function and the tasks that it starts in the TaskGroup that comes first, until the context ends.

    What the context raises passes as it is, and not inside the group that a task group makes of it.
    """
    failure: BaseException | None = None
    async with create_task_group() as tasks:
        tasks.start_soon(function, tasks, *args)
        try:
            yield
        except get_cancelled_exc_class():
            raise
        except BaseException as e:  # noqa: BLE001 raised below
            failure = e
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _accept(tasks: TaskGroup, listener: socket.socket, handle: Handler) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            await wait_readable(listener)
        except ConnectionAbortedError:
            continue
        except OSError as e:  # too many open files, mostly; the connection waits, and so does the listener
            logger.error("a connection cannot be accepted yet: %s", e.strerror)
            await sleep(1)
        else:
            tasks.start_soon(handle, SocketStream(sock, "local connection"))
