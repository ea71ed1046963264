"""A pexpect session on a stream."""

from __future__ import annotations

import queue
import socket
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pexpect
import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common import utils
from jumpstarter.driver import Driver
from jumpstarter_driver_network.adapters import PexpectAdapter
from jumpstarter_driver_network.driver import EchoNetwork, TcpNetwork

Services = Callable[[Callable[[socket.socket], None]], Any]


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


def console(connection: socket.socket) -> None:
    """Asks for a name and greets, until the peer ends."""
    connection.sendall(b"login: ")
    while name := connection.recv(100).strip():
        connection.sendall(b"Welcome " + name + b"\r\n# ")


def test_a_dialogue_with_a_console(tcp_service: Services) -> None:
    with (
        serve(TcpNetwork(host="127.0.0.1", port=tcp_service(console).port)) as client,
        PexpectAdapter(client=client) as session,
    ):
        session.expect_exact("login: ", timeout=60)
        session.sendline("root")
        session.expect("Welcome (.*)\r\n", timeout=60)
        match: Any = session.match
        assert match.group(1) == b"root"
        with pytest.raises(pexpect.TIMEOUT):
            session.expect_exact("panic", timeout=0.1)


def test_a_session_can_be_opened_again_and_again() -> None:
    with serve(EchoNetwork()) as client:
        for _ in range(3):
            with PexpectAdapter(client=client) as session:
                session.sendline("hello")
                session.expect_exact("hello", timeout=60)


def test_what_is_sent_last_arrives(tcp_service: Services) -> None:
    got: queue.Queue[bytes] = queue.Queue()
    service = tcp_service(lambda connection: got.put(b"".join(iter(lambda: connection.recv(65536), b""))))
    with serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client:
        with PexpectAdapter(client=client) as session:
            session.send("poweroff\n")
        assert got.get(timeout=60) == b"poweroff\n"


def test_leaving_does_not_wait_for_a_service_that_never_ends(tcp_service: Services) -> None:
    def noise(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"tick\n")
            time.sleep(0.01)

    with serve(TcpNetwork(host="127.0.0.1", port=tcp_service(noise).port)) as client:
        begin = time.monotonic()
        with PexpectAdapter(client=client) as session:
            session.expect_exact("tick", timeout=60)
            session.close()
        assert time.monotonic() - begin < 30


def test_the_end_of_the_service_is_an_eof(tcp_service: Services) -> None:
    service = tcp_service(lambda connection: connection.sendall(b"bye"))
    with serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client, PexpectAdapter(client=client) as session:
        session.expect_exact("bye", timeout=60)
        session.expect(pexpect.EOF, timeout=60)


def test_a_broken_stream_is_no_eof(tcp_service: Services) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        serve(TcpNetwork(host="127.0.0.1", port=tcp_service(reset).port)) as client,
        PexpectAdapter(client=client) as session,
    ):
        session.send("break")
        with pytest.raises(ConnectionResetError):
            session.expect(pexpect.EOF, timeout=60)


def test_a_refused_connection_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        serve(TcpNetwork(host="127.0.0.1", port=port)) as client,
        pytest.raises(DriverError, match="refused the connection"),
        PexpectAdapter(client=client),
    ):
        pass
