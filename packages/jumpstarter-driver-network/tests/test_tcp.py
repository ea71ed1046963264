"""TCP through the exporter: bytes, ends and breaks arrive as they were sent."""

from __future__ import annotations

import hashlib
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
from anyio import BrokenResourceError, EndOfStream
from jumpstarter.client.core import DriverError, DriverInvalidArgument
from jumpstarter.common import utils
from jumpstarter.common.exceptions import ArgumentError, BusyError, ConfigurationError
from jumpstarter.driver import Driver
from jumpstarter_driver_network.adapters import TcpPortforwardAdapter
from jumpstarter_driver_network.driver import EchoNetwork, TcpNetwork

RESET = struct.pack("ii", 1, 0)
Services = Callable[[Callable[[socket.socket], None]], Any]


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def forward(client: Any, **options: Any) -> AbstractContextManager[tuple[str, int]]:
    return TcpPortforwardAdapter(client=client, **options)


def dial(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=60)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class TestBytes:
    def test_a_python_client_talks_to_the_service(self, tcp_service: Services) -> None:
        with serve(TcpNetwork(host="127.0.0.1", port=tcp_service(echo).port)) as client, client.stream() as stream:
            stream.send(b"hello")
            assert stream.receive() == b"hello"

    def test_large_transfers_arrive_whole_both_ways_at_once(self, tcp_service: Services) -> None:
        service = tcp_service(echo)
        data = os.urandom(1 << 20) * 16
        with (
            serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client,
            forward(client) as address,
            dial(address) as connection,
            ThreadPoolExecutor(1) as pool,
        ):
            received = pool.submit(read_all, connection)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            assert hashlib.sha256(received.result()).digest() == hashlib.sha256(data).digest()

    def test_what_is_sent_last_arrives_although_the_client_leaves_at_once(self, tcp_service: Services) -> None:
        got: queue.Queue[bytes] = queue.Queue()

        def chatty(connection: socket.socket) -> None:
            connection.sendall(b"banner that nobody reads" * 1000)
            got.put(read_all(connection))

        with serve(TcpNetwork(host="127.0.0.1", port=tcp_service(chatty).port)) as client:
            for _ in range(20):
                with client.stream() as stream:
                    stream.send(b"x" * 100_000)
                assert len(got.get(timeout=60)) == 100_000

    def test_two_hundred_connections_at_once(self, tcp_service: Services) -> None:
        service = tcp_service(echo)
        with serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client, forward(client) as address:
            connections = [dial(address) for _ in range(200)]
            try:
                for number, connection in enumerate(connections):
                    connection.sendall(f"connection {number}".encode())
                for number, connection in enumerate(connections):
                    assert connection.recv(100) == f"connection {number}".encode()
                for connection in connections:
                    connection.shutdown(socket.SHUT_WR)
                for connection in connections:
                    assert connection.recv(100) == b""
            finally:
                for connection in connections:
                    connection.close()

    def test_a_slow_reader_slows_the_sender_down(self, tcp_service: Services) -> None:
        sent = 0

        def flood(connection: socket.socket) -> None:
            nonlocal sent
            while True:
                sent += connection.send(bytes(1 << 20))

        with (
            serve(TcpNetwork(host="127.0.0.1", port=tcp_service(flood).port)) as client,
            forward(client) as address,
            dial(address) as connection,
        ):
            connection.recv(1)
            time.sleep(1)
            first = sent
            time.sleep(0.5)
            assert sent == first < 64 << 20

    def test_echo_needs_no_service(self) -> None:
        with serve(EchoNetwork()) as client, forward(client) as address, dial(address) as connection:
            connection.sendall(b"hello")
            assert connection.recv(100) == b"hello"
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""


class TestEnds:
    def test_a_server_may_answer_after_the_end_of_the_request(self, tcp_service: Services) -> None:
        def answer(connection: socket.socket) -> None:
            connection.sendall(b"got " + read_all(connection))

        service = tcp_service(answer)
        with serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client:
            with forward(client) as address, dial(address) as connection:
                connection.sendall(b"request")
                connection.shutdown(socket.SHUT_WR)
                assert read_all(connection) == b"got request"
            with client.stream() as stream:
                stream.send(b"request")
                stream.send_eof()
                assert stream.receive() == b"got request"
                with pytest.raises(EndOfStream):
                    stream.receive()
        assert service.failures == []

    def test_a_client_may_send_on_after_the_server_has_ended(self, tcp_service: Services) -> None:
        got: queue.Queue[bytes] = queue.Queue()

        def ends_first(connection: socket.socket) -> None:
            connection.shutdown(socket.SHUT_WR)
            got.put(read_all(connection))

        with (
            serve(TcpNetwork(host="127.0.0.1", port=tcp_service(ends_first).port)) as client,
            forward(client) as address,
            dial(address) as connection,
        ):
            assert connection.recv(100) == b""
            connection.sendall(b"later")
            connection.shutdown(socket.SHUT_WR)
            assert got.get(timeout=60) == b"later"


class TestBreaks:
    def test_a_reset_by_the_service_resets_the_local_connection(self, tcp_service: Services) -> None:
        def reset(connection: socket.socket) -> None:
            connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        with serve(TcpNetwork(host="127.0.0.1", port=tcp_service(reset).port)) as client:
            with forward(client) as address, dial(address) as connection:
                connection.sendall(b"break")
                with pytest.raises(ConnectionResetError):
                    read_all(connection)
            with client.stream() as stream:
                stream.send(b"break")
                with pytest.raises(BrokenResourceError, match=r"tcp 127\.0\.0\.1:.*reset"):
                    stream.receive()

    def test_a_reset_of_the_local_connection_resets_that_to_the_service(self, tcp_service: Services) -> None:
        service = tcp_service(echo)
        with serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client, forward(client) as address:
            connection = dial(address)
            connection.sendall(b"hello")
            connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
            until(lambda: service.failures)
            assert isinstance(service.failures[0], ConnectionResetError)

    def test_the_end_of_a_forward_resets_its_connections_on_both_sides(self, tcp_service: Services) -> None:
        service = tcp_service(echo)
        with serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client:
            with forward(client) as address:
                connection = dial(address)
                connection.sendall(b"hello")
                connection.recv(100)
            with connection, pytest.raises(ConnectionResetError):
                connection.recv(100)
            until(lambda: service.failures)
            assert isinstance(service.failures[0], ConnectionResetError)

    def test_the_end_of_the_exporter_resets_the_local_connection(self, tcp_service: Services) -> None:
        from jumpstarter.client.client import connect
        from jumpstarter.client.connection import Endpoint
        from jumpstarter.client.tree import Policy
        from jumpstarter.common.enums import ExporterStatus
        from jumpstarter.exporter.session import Session

        service = tcp_service(echo)
        with Session(root_device=TcpNetwork(host="127.0.0.1", port=service.port)) as session:
            serving = session.serve_unix()
            path = serving.__enter__()
            session.update_status(ExporterStatus.LEASE_READY)
            with (
                connect(Endpoint(str(path)), Policy(unsafe=True)) as client,
                forward(client) as address,
                dial(address) as connection,
            ):
                connection.sendall(b"hello")
                connection.recv(100)
                serving.__exit__(None, None, None)
                with pytest.raises(ConnectionResetError):
                    connection.recv(100)
        until(lambda: service.failures)
        assert isinstance(service.failures[0], ConnectionResetError)

    def test_a_refused_connection_is_reset_and_the_log_says_why(self, caplog: pytest.LogCaptureFixture) -> None:
        port = free_port()
        with serve(TcpNetwork(host="127.0.0.1", port=port)) as client, forward(client) as address:
            with dial(address) as connection, pytest.raises(ConnectionResetError):
                connection.recv(100)
            until(lambda: caplog.messages)
        assert f"tcp 127.0.0.1:{port} refused the connection; is the service running" in caplog.text

    def test_one_broken_connection_leaves_the_others_alone(self, tcp_service: Services) -> None:
        service = tcp_service(echo)
        with (
            serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client,
            forward(client) as address,
            dial(address) as good,
        ):
            bad = dial(address)
            bad.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            bad.close()
            for _ in range(10):
                good.sendall(b"hello")
                assert good.recv(100) == b"hello"

    def test_nothing_stays_behind_after_many_connections(self, tcp_service: Services) -> None:
        service = tcp_service(echo)
        with serve(TcpNetwork(host="127.0.0.1", port=service.port)) as client, forward(client) as address:

            def use(number: int) -> None:
                with dial(address) as connection:
                    connection.sendall(b"hello")
                    assert connection.recv(100) == b"hello"
                    if number % 3 == 0:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

            use(0)
            until(lambda: len(service.connections) == 1 and service.connections[0].fileno() == -1)
            before, threads = open_files(), threading.active_count()
            for number in range(30):
                use(number)
            until(lambda: open_files() <= before)
            until(lambda: threading.active_count() <= threads)


class TestErrors:
    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
    def test_what_the_user_raises_passes_as_it_is(self, error: type[BaseException]) -> None:
        with serve(EchoNetwork()) as client, pytest.raises(error), forward(client) as address, dial(address):
            raise error

    def test_a_refused_connection_says_which_service_and_what_to_do(self) -> None:
        port = free_port()
        problem = f"tcp 127.0.0.1:{port} refused the connection; is the service running on the board"
        with (
            serve(TcpNetwork(host="127.0.0.1", port=port)) as client,
            pytest.raises(DriverError, match=problem),
            client.stream(),
        ):
            pass

    def test_an_unknown_host_is_named(self) -> None:
        with serve(TcpNetwork(host="board.invalid", port=80)) as client:
            with pytest.raises(DriverError, match=r"tcp board\.invalid:80: name not found"), client.stream():
                pass
            with pytest.raises(DriverError, match=r"board\.invalid:80: name not found"):
                client.address()

    @pytest.mark.parametrize("port", [0, -1, 65536])
    def test_an_impossible_port_is_a_configuration_error(self, port: int) -> None:
        with pytest.raises(ConfigurationError, match=f"port must be 1 to 65535, not {port}"):
            TcpNetwork(host="127.0.0.1", port=port)

    def test_a_local_port_in_use_is_named(self) -> None:
        with (
            serve(EchoNetwork()) as client,
            forward(client) as (host, port),
            pytest.raises(BusyError, match=f"{host}:{port} is in use"),
            forward(client, local_port=port),
        ):
            pass

    @pytest.mark.parametrize(
        "options", [{"local_host": "192.0.2.1"}, {"local_host": "no.invalid"}, {"local_port": 1 << 17}]
    )
    def test_an_impossible_local_address_is_named(self, options: dict[str, Any]) -> None:
        with (
            serve(EchoNetwork()) as client,
            pytest.raises(ArgumentError, match="cannot listen on"),
            forward(client, **options),
        ):
            pass

    def test_the_address_is_given_unless_it_is_disabled(self) -> None:
        with serve(TcpNetwork(host="127.0.0.1", port=80)) as client:
            assert client.address() == "tcp://127.0.0.1:80"
        with serve(TcpNetwork(host="::1", port=80)) as client:
            assert client.address() == "tcp://[::1]:80"
        with (
            serve(TcpNetwork(host="127.0.0.1", port=80, enable_address=False)) as client,
            pytest.raises(DriverInvalidArgument, match="enable_address is false"),
        ):
            client.address()


def open_files() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208


def until(condition: Callable[[], object]) -> None:
    """Wait until something is true, 5 s at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
