"""Sockets that exist for as long as a context."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio  # its parts are imported where they are used: an exporter on a port needs none of them
import anyio.abc

from .groups import ungrouped
from .runtime import check_socket_path

if TYPE_CHECKING:
    from anyio.abc import Listener, SocketStream

Handler = Callable[["SocketStream"], Awaitable[Any]]


@contextmanager
def TemporarySocket() -> Generator[Path]:
    """A path for a unix socket in a directory of its own that only this user can enter; removed at the end."""
    import tempfile  # takes several milliseconds

    base = os.environ.get("XDG_RUNTIME_DIR")
    if base is None or not os.access(base, os.W_OK):
        base = None
    with tempfile.TemporaryDirectory(prefix="jumpstarter-", dir=base, ignore_cleanup_errors=True) as directory:
        yield check_socket_path(Path(directory) / "socket")


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
