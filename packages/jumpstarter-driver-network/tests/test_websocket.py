"""Web sockets through the exporter, against a real server."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from anyio import BrokenResourceError, EndOfStream
from jumpstarter.client.core import DriverError, DriverInvalidArgument
from jumpstarter.common import utils
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver
from jumpstarter_driver_network.adapters import TcpPortforwardAdapter

websockets = pytest.importorskip("websockets")

from jumpstarter_driver_network.websocket import WebsocketNetwork  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.server import ServerConnection  # noqa: E402
from websockets.sync.server import serve as serve_websocket  # noqa: E402

Start = Callable[[Callable[[ServerConnection], None]], str]


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


@pytest.fixture
def server() -> Generator[Start]:
    """Start a web socket server whose connections go to a function; returns its URL."""
    started: list[tuple[Any, threading.Thread]] = []

    def start(handle: Callable[[ServerConnection], None]) -> str:
        server = serve_websocket(handle, "127.0.0.1", 0, max_size=None)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        started.append((server, thread))
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}/port"

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join(60)


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def test_an_item_is_a_message_both_ways(server: Start) -> None:
    with serve(WebsocketNetwork(url=server(echo))) as client, client.stream() as stream:
        for message in (b"one", b"two", b"x" * 500_000):
            stream.send(message)
        assert [stream.receive() for _ in range(3)] == [b"one", b"two", b"x" * 500_000]


def test_text_arrives_as_utf8(server: Start) -> None:
    with (
        serve(WebsocketNetwork(url=server(lambda connection: connection.send("grün")))) as client,
        client.stream() as stream,
    ):
        assert stream.receive() == "grün".encode()


def test_a_local_port_reaches_the_web_socket(server: Start) -> None:
    with (
        serve(WebsocketNetwork(url=server(echo))) as client,
        TcpPortforwardAdapter(client=client) as address,
        socket.create_connection(address, timeout=5) as connection,
    ):
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


def test_a_close_by_the_server_is_an_end(server: Start) -> None:
    with (
        serve(WebsocketNetwork(url=server(lambda connection: connection.send(b"bye")))) as client,
        client.stream() as stream,
    ):
        assert stream.receive() == b"bye"
        with pytest.raises(EndOfStream):
            stream.receive()


def test_a_connection_that_breaks_is_an_error(server: Start) -> None:
    def break_when_asked(connection: ServerConnection) -> None:
        connection.recv()
        connection.socket.shutdown(socket.SHUT_RDWR)

    with serve(WebsocketNetwork(url=server(break_when_asked))) as client, client.stream() as stream:
        stream.send(b"break")
        with pytest.raises(BrokenResourceError, match=r"websocket ws://127\.0\.0\.1"):
            stream.receive()


@pytest.mark.parametrize("clean", [True, False])
def test_the_server_sees_whether_the_client_ended_or_was_lost(server: Start, clean: bool) -> None:
    codes: queue.Queue[int | None] = queue.Queue()

    def wait(connection: ServerConnection) -> None:
        try:
            while True:
                connection.recv()
        except ConnectionClosed as e:
            codes.put(e.rcvd.code if e.rcvd is not None else None)

    with serve(WebsocketNetwork(url=server(wait))) as client:
        try:
            with client.stream() as stream:
                stream.send(b"hello")
                if not clean:
                    raise InterruptedError
        except InterruptedError:
            pass
        assert codes.get(timeout=60) == (1000 if clean else None)


def test_a_refused_connection_and_a_wrong_server_are_named(server: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with serve(WebsocketNetwork(url=f"ws://user:secret@127.0.0.1:{port}/a?token=secret")) as client:
        with pytest.raises(DriverError, match=f"websocket ws://127.0.0.1:{port}/a refused") as refused, client.stream():
            pass
        assert "secret" not in str(refused.value)
    with (
        serve(WebsocketNetwork(url="ws://board.invalid")) as client,
        pytest.raises(DriverError, match=r"ws://board\.invalid.*check the driver's url"),
        client.stream(),
    ):
        pass


def test_an_answer_that_is_no_web_socket_says_so() -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with (
            serve(WebsocketNetwork(url=f"ws://127.0.0.1:{listener.getsockname()[1]}")) as client,
            pytest.raises(DriverError, match="HTTP 404"),
            client.stream(),
        ):
            pass
        thread.join()


def test_the_address_has_no_secrets() -> None:
    with serve(WebsocketNetwork(url="wss://board.example/port?token=secret")) as client:
        assert client.address() == "wss://board.example/port"
    with (
        serve(WebsocketNetwork(url="wss://lab:secret@board.example/port")) as client,
        pytest.raises(DriverInvalidArgument, match="use a port forward") as caught,
    ):
        client.address()
    assert "secret" not in str(caught.value)


def test_the_address_is_given_unless_it_is_disabled() -> None:
    with serve(WebsocketNetwork(url="wss://board.example/port")) as client:
        assert client.address() == "wss://board.example/port"
    with (
        serve(WebsocketNetwork(url="wss://board.example/port", enable_address=False)) as client,
        pytest.raises(DriverInvalidArgument),
    ):
        client.address()


@pytest.mark.parametrize("url", ["http://board/", "board:80", "ws://", "", "ws://host:port/"])
def test_another_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="url must be ws://"):
        WebsocketNetwork(url=url)


def test_a_missing_library_is_named_with_the_way_to_install_it() -> None:
    code = (
        "import sys; sys.modules['websockets'] = None\n"
        "from jumpstarter.common.exceptions import ConfigurationError\n"
        "from jumpstarter_driver_network.driver import TcpNetwork, WebsocketNetwork\n"
        "TcpNetwork(host='board', port=80)\n"
        "try: WebsocketNetwork(url='ws://board/')\n"
        "except ConfigurationError as e: print(e)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "pip install 'jumpstarter-driver-network[websocket]'" in output
