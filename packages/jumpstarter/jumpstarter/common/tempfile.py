"""Sockets that exist for as long as a context."""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio  # its parts are imported where they are used: an exporter on a port needs none of them
import anyio.abc

from .groups import ungrouped
from .runtime import check_socket_path

if TYPE_CHECKING:
    from anyio.abc import Listener, SocketStream

Handler = Callable[["SocketStream"], Awaitable[Any]]


_directories: dict[tuple[int, str | None], Path] = {}
"""Those of `_directory`, by process and by the directory that they are in."""

_numbers = count()


@contextmanager
def TemporarySocket() -> Generator[Path]:
    """A path for a unix socket in a directory that only this user can enter; the socket is removed at the end."""
    path = check_socket_path(_directory() / f"{next(_numbers)}.sock")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _directory() -> Path:
    """The directory of this process's temporary sockets, made when it is first used, removed when the process ends."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base is None or not os.access(base, os.W_OK):
        base = None
    key = os.getpid(), base  # one that has forked leaves the directory to its parent
    directory = _directories.get(key)
    if directory is None or not directory.is_dir():
        import tempfile  # takes several milliseconds

        directory = _directories[key] = Path(tempfile.mkdtemp(prefix="jumpstarter-", dir=base))
        atexit.register(_remove, os.getpid(), directory)
    return directory


def _remove(pid: int, directory: Path) -> None:
    if pid == os.getpid():
        with suppress(OSError):  # something is in it still, or it is gone
            directory.rmdir()


@asynccontextmanager
async def TemporaryUnixListener(handler: Handler, path: str | os.PathLike[str] | None = None) -> AsyncGenerator[Path]:
    """Serve connections to a unix socket, each by `handler(stream)` in a task that ends with the context."""
    if path is not None:
        async with _serving(await anyio.create_unix_listener(path, mode=0o600), handler):
            yield Path(path)
        return
    with TemporarySocket() as socket_path:
        async with _serving(await anyio.create_unix_listener(socket_path, mode=0o600), handler):
            yield socket_path


@asynccontextmanager
async def TemporaryTcpListener(
    handler: Handler,
    local_host: str = "127.0.0.1",
    local_port: int = 0,
    family: socket.AddressFamily = socket.AF_UNSPEC,
    backlog: int = 65536,
    reuse_port: bool = False,
) -> AsyncGenerator[tuple[str, int]]:
    """Serve connections to a TCP port, 0 for any, each by `handler(stream)` in a task that ends with the context.

    Yields the bound address. Two listeners never share a port unless `reuse_port` says so.
    """
    listener = await anyio.create_tcp_listener(
        local_host=local_host,
        local_port=local_port,
        family=family,  # pyright: ignore[reportArgumentType] AF_UNSPEC is one of the values anyio takes
        backlog=backlog,
        reuse_port=reuse_port,
    )
    address: tuple[str, int] = listener.extra(anyio.abc.SocketAttribute.local_address)  # pyright: ignore[reportAssignmentType]
    async with _serving(listener, handler):
        yield address


@asynccontextmanager
async def _serving(listener: Listener[SocketStream], handler: Handler) -> AsyncGenerator[None]:
    with ungrouped():
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handler)
            yield
            tasks.cancel_scope.cancel()
