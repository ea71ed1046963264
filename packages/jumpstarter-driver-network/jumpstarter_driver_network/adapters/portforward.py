"""Local ports and sockets, each connection to which is a byte stream of a driver.

A stream that breaks resets its connection, so that it never looks like the end of the data.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from jumpstarter.client.adapters import blocking

if TYPE_CHECKING:
    from anyio.abc import AnyByteStream
    from jumpstarter.client import DriverClient


async def handler(client: "DriverClient", method: str, conn: "AnyByteStream") -> None:
    """Join one connection with a stream of its own to the driver, and close it."""
    from ..forwarding import forward

    await forward(client, method, conn)


@blocking
@asynccontextmanager
async def TcpPortforwardAdapter(
    *, client: "DriverClient", method: str = "connect", local_host: str = "127.0.0.1", local_port: int = 0
) -> AsyncGenerator[tuple[str, int]]:
    """A local TCP port, 0 for any free one, until the context ends; yields its host and port."""
    from ..forwarding import forwarded_tcp

    async with forwarded_tcp(client, method, local_host, local_port) as address:
        yield address


@blocking
@asynccontextmanager
async def UnixPortforwardAdapter(
    *, client: "DriverClient", method: str = "connect", path: "str | PathLike[str] | None" = None
) -> AsyncGenerator[Path]:
    """A local unix socket, by default at a temporary path, until the context ends; yields its path."""
    from ..forwarding import forwarded_unix

    async with forwarded_unix(client, method, None if path is None else Path(path)) as bound:
        yield bound
