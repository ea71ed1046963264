"""`WebsocketNetwork`, a web socket as a byte stream: one item is one binary message.

A web socket has no half-close (RFC 6455, section 7): the end of what a client sends closes it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio import ClosedResourceError, EndOfStream
from anyio.abc import ObjectStream
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export, exportstream

from .connect import CONNECT_TIMEOUT
from .interface import NetworkInterface
from .streams import SocketBroken

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

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
        if find_spec("websockets") is None:
            raise ConfigurationError(
                "WebsocketNetwork needs the library websockets; "
                "run: pip install 'jumpstarter-driver-network[websocket]'"
            )

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


def _is_websocket(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port
        return False


class WebsocketStream(ObjectStream[bytes]):
    """The messages of a web socket; text arrives as UTF-8."""

    def __init__(self, connection: "ClientConnection", name: str) -> None:
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
