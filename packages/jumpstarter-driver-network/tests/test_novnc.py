"""A screen behind the exporter, in a web browser: its web socket, by a real client of web sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from jumpstarter.common import utils
from jumpstarter.driver import Driver
from jumpstarter_driver_network.adapters import NovncAdapter
from jumpstarter_driver_network.driver import EchoNetwork, TcpNetwork

websockets = pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402
from websockets.typing import Origin, Subprotocol  # noqa: E402

Services = Callable[[Callable[[socket.socket], None]], Any]


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


def websocket_of(page: str) -> str:
    """Where the viewer of a page connects to."""
    query = parse_qs(urlsplit(page).query)
    return f"ws://{query['host'][0]}:{query['port'][0]}/websockify"


def test_the_page_leads_to_a_web_socket_of_the_stream() -> None:
    with serve(EchoNetwork()) as client, NovncAdapter(client=client, encrypt=False) as page:
        assert page.startswith("https://novnc.com/noVNC/vnc.html?encrypt=0&autoconnect=1&reconnect=1&host=127.0.0.1&")
        for subprotocols in (None, [Subprotocol("binary")]):
            with connect(websocket_of(page), origin=Origin("https://novnc.com"), subprotocols=subprotocols) as viewer:
                for message in (b"RFB 003.008\n", b"x" * 200_000):
                    viewer.send(message)
                    received = b""
                    while len(received) < len(message):
                        part = viewer.recv(timeout=60)
                        assert isinstance(part, bytes)
                        received += part
                    assert received == message


def test_other_pages_of_the_browser_are_refused() -> None:
    with serve(EchoNetwork()) as client, NovncAdapter(client=client) as page:
        assert "encrypt=1" in page
        with (
            pytest.raises(InvalidStatus, match="403"),
            connect(websocket_of(page), origin=Origin("https://bad.example")),
        ):
            pass


def test_the_end_of_the_server_closes_the_web_socket(tcp_service: Services) -> None:
    service = tcp_service(lambda connection: connection.sendall(b"RFB 003.008\n"))
    with (
        serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client,
        NovncAdapter(client=client) as page,
        connect(websocket_of(page)) as viewer,
    ):
        assert viewer.recv(timeout=60) == b"RFB 003.008\n"
        with pytest.raises(ConnectionClosed):
            viewer.recv(timeout=60)


def test_it_ends_with_its_context_whoever_is_connected() -> None:
    with serve(EchoNetwork()) as client, ExitStack() as viewers:
        with NovncAdapter(client=client) as page:
            viewer = viewers.enter_context(connect(websocket_of(page)))
            viewer.send(b"hello")
            assert viewer.recv(timeout=60) == b"hello"
        with pytest.raises(ConnectionClosed):
            viewer.recv(timeout=60)
        with pytest.raises(ConnectionRefusedError):
            viewers.enter_context(connect(websocket_of(page)))
