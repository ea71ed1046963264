"""Local sockets whose connections are streams of a driver: what the adapters and the command line are made of."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import sleep
from anyio.abc import AnyByteStream
from jumpstarter.common import TemporarySocket
from jumpstarter.common.exceptions import ConnectionError, ExporterUnreachableError
from jumpstarter.streams.common import join_streams

from .listen import accepting, listening_on_tcp, listening_on_unix
from .streams import SocketBroken

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient

logger = logging.getLogger(__name__)


async def forward(client: "DriverClient", method: str, connection: AnyByteStream) -> None:
    """Join a connection with a stream of its own to the driver, until both directions have ended.

    Raises what broke either side, with both closed; a broken stream resets a `SocketStream`.
    """
    async with connection, _opened(client, method) as stream:
        await join_streams(connection, stream)


def _opened(client: "DriverClient", method: str) -> AbstractAsyncContextManager[AnyByteStream]:
    """The stream, without waiting until the exporter has opened it, unless the client's class has a way of its own."""
    from jumpstarter.client.core import AsyncDriverClient

    if type(client).stream_async is not AsyncDriverClient.stream_async:
        return client.stream_async(method)
    return client.stream_async(method, wait=False)


async def _forward_logged(client: "DriverClient", method: str, connection: AnyByteStream) -> None:
    """`forward`, where nobody waits for what it raises: one connection must not end the others."""
    try:
        await forward(client, method, connection)
    except SocketBroken as e:
        logger.debug("%s", e)
    except Exception as e:  # noqa: BLE001 said here, and to the local program by a reset
        logger.warning("a connection to %s broke: %s", client.path or method, e)


@asynccontextmanager
async def forwarded_tcp(client: "DriverClient", method: str, host: str, port: int) -> AsyncGenerator[tuple[str, int]]:
    """A local TCP port meanwhile; yields its address."""
    with listening_on_tcp(host, port) as listener:
        address = listener.getsockname()
        async with accepting(listener, lambda connection: _forward_logged(client, method, connection)):
            yield address[0], address[1]


@asynccontextmanager
async def forwarded_unix(client: "DriverClient", method: str, path: Path | None) -> AsyncGenerator[Path]:
    """A local unix socket meanwhile, at a path or at a temporary one, that only this user can use."""
    if path is None:
        with TemporarySocket() as temporary:
            async with forwarded_unix(client, method, temporary):
                yield temporary
        return
    with listening_on_unix(path) as listener:
        async with accepting(listener, lambda connection: _forward_logged(client, method, connection)):
            yield path


@asynccontextmanager
async def forwarded_websocket(
    client: "DriverClient", method: str, origins: Sequence[str]
) -> AsyncGenerator[tuple[str, int]]:
    """A web socket on the loopback address meanwhile, for web pages of these origins and for programs; its address."""
    from .websocket import accepting_websockets

    accepting = accepting_websockets(lambda connection: _forward_logged(client, method, connection), origins)
    async with accepting as address:
        yield address


async def exporter_lost(client: "DriverClient") -> None:
    """Wait until the exporter is gone, and raise the error that says so."""
    from jumpstarter.client.logs import follow_logs

    while True:
        await follow_logs(client.stub, False)  # a call that ends when the exporter does
        try:
            await client.get_status_async()
        except ConnectionError as e:
            raise ExporterUnreachableError("the exporter is gone; start it again, and then this command") from e
        await sleep(1)
