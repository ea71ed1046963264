"""A VNC server behind a driver's stream in a web browser."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from jumpstarter.client.adapters import blocking

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient

PAGE = "https://novnc.com/noVNC/vnc.html"
"""A viewer that runs in the browser; the screen itself does not pass its server."""

ORIGINS = ("https://novnc.com", "http://novnc.com")


@blocking
@asynccontextmanager
async def NovncAdapter(*, client: "DriverClient", method: str = "connect", encrypt: bool = True) -> AsyncGenerator[str]:
    """The URL of a page that shows the screen, until the context ends, by a local web socket that only it may use.

    With `encrypt` the page asks for TLS, which something in front of the local port has to speak. Needs the extra
    `websocket` of this package.
    """
    from ..forwarding import forwarded_websocket
    from ..websocket import check_library

    check_library("NovncAdapter")
    async with forwarded_websocket(client, method, ORIGINS) as (host, port):
        query = {"encrypt": int(encrypt), "autoconnect": 1, "reconnect": 1, "host": host, "port": port}
        yield f"{PAGE}?{urlencode(query)}"
