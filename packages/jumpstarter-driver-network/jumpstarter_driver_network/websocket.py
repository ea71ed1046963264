"""`WebsocketNetwork`, a web socket as a byte stream: one item is one binary message.

A web socket has no half-close (RFC 6455, section 7): the end of what a client sends closes it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from anyio import CancelScope, ClosedResourceError, EndOfStream
from anyio.abc import ObjectStream
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export, exportstream

from .connect import CONNECT_TIMEOUT
from .interface import NetworkInterface
from .streams import SocketBroken

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import ServerConnection
    from websockets.typing import Origin, Subprotocol

MAX_MESSAGE = 16 << 20
"""Most bytes of one message that the peer may send."""


@dataclass(kw_only=True)
class WebsocketNetwork(NetworkInterface, Driver):
    """A web socket server. Needs the extra `websocket` of this package."""

    url: str
    """`ws://host[:port]/path`, or `wss://` for TLS."""

    enable_address: bool = True
    """Whether clients may learn the URL, to connect without the exporter."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _is_websocket(self.url):
            raise ConfigurationError(f"url must be ws://host/path or wss://host/path, not {self._shown_url!r}")
        check_library("WebsocketNetwork")

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator["WebsocketStream"]:
        from websockets.asyncio.client import connect  # an extra, and slow to import
        from websockets.exceptions import InvalidHandshake

        target = f"websocket {self._shown_url}"
        try:
            connection = await connect(self.url, open_timeout=CONNECT_TIMEOUT, max_size=MAX_MESSAGE, max_queue=4)
        except InvalidHandshake as e:
            raise ConnectionError(f"{target}: {e}; is it the right path?") from e
        except ConnectionRefusedError as e:
            raise ConnectionRefusedError(f"{target} refused the connection; is the service running?") from e
        except TimeoutError as e:
            raise TimeoutError(f"{target} did not answer; is the host powered and on the network?") from e
        except OSError as e:
            raise ConnectionError(f"{target}: {e.strerror or e}; check the driver's url") from e
        async with WebsocketStream(connection, target) as stream:
            yield stream

    @export
    def address(self) -> str:
        """The URL without its query, which may be a secret; refused where one has to log in."""
        if not self.enable_address:
            raise ValueError("the address is not given to clients (enable_address is false); use a port forward")
        if "@" in urlsplit(self.url).netloc:
            raise ValueError("the address is not given to clients, it has a user name or password; use a port forward")
        return self._shown_url

    @property
    def _shown_url(self) -> str:
        """The URL without what may be a secret: user, password, query."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def check_library(user: str) -> None:
    """Raise ConfigurationError unless web sockets can be used."""
    if find_spec("websockets") is None:
        raise ConfigurationError(
            f"{user} needs the library websockets; run: pip install 'jumpstarter-driver-network[websocket]'"
        )


def _is_websocket(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port
        return False


class WebsocketStream(ObjectStream[bytes]):
    """The messages of a web socket; text arrives as UTF-8."""

    def __init__(self, connection: "Connection", name: str) -> None:
        self._connection = connection
        self._name = name
        self._eof_sent = False
        self._closed = False

    async def receive(self) -> bytes:
        from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

        if self._closed:
            raise ClosedResourceError
        try:
            message = await self._connection.recv()
        except ConnectionClosedOK:
            raise EndOfStream from None
        except ConnectionClosedError as e:
            raise SocketBroken(f"{self._name}: {e}") from None
        return message.encode() if isinstance(message, str) else message

    async def send(self, item: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        if self._closed or self._eof_sent:
            raise ClosedResourceError
        try:
            await self._connection.send(item)
        except ConnectionClosed as e:
            raise SocketBroken(f"{self._name}: {e}") from None

    async def send_eof(self) -> None:
        """Close the web socket; what the peer sent before it heard of that can be received."""
        self._eof_sent = True
        await self._connection.close()

    async def aclose(self) -> None:
        """Close; a web socket whose end was not sent is cut off, so that its peer sees an error."""
        if self._closed:
            return
        self._closed = True
        if not self._eof_sent:
            self._connection.transport.abort()
        await self._connection.wait_closed()


@asynccontextmanager
async def accepting_websockets(
    handle: Callable[[WebsocketStream], Awaitable[object]], origins: Sequence[str]
) -> AsyncGenerator[tuple[str, int]]:
    """Serve web sockets on a free port of the loopback address meanwhile; yields host and port.

    Any page that a browser shows could connect there: those of other origins are refused. Programs, which have none,
    are not.
    """
    from websockets.asyncio.server import serve

    scopes: set[CancelScope] = set()

    async def serve_one(connection: "ServerConnection") -> None:
        with CancelScope() as scope:
            scopes.add(scope)
            try:
                await handle(WebsocketStream(connection, "local web socket"))
            finally:
                scopes.discard(scope)

    allowed = [cast("Origin", origin) for origin in origins]
    server = serve(
        serve_one, "127.0.0.1", 0, origins=[*allowed, None], select_subprotocol=_binary, max_size=MAX_MESSAGE
    )
    async with server as listening:
        address: tuple[Any, ...] = next(iter(listening.sockets)).getsockname()
        try:
            yield str(address[0]), int(address[1])
        finally:
            for scope in tuple(scopes):
                scope.cancel()


def _binary(connection: "ServerConnection", offered: "Sequence[Subprotocol]") -> "Subprotocol | None":
    """What older viewers insist on; others offer nothing."""
    return next((name for name in offered if name == "binary"), None)
