"""Ports that are reached over the network: terminal servers, and what they do wrong."""

import socket
import struct
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest
import serial
import serial.rfc2217
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter.streams.blocking import BlockingStream
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_testing.waiting import until

PATIENCE = 15.0


class Server:
    """A terminal server with one connection at a time."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.peer: socket.socket | None = None
        self._accepted = threading.Condition()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                with self._accepted:
                    self.peer = peer
                    self._accepted.notify_all()

    def connected(self) -> socket.socket:
        with self._accepted:
            assert self._accepted.wait_for(lambda: self.peer is not None, PATIENCE)
            assert self.peer is not None
            return self.peer

    def reset(self) -> None:
        """End the connection as a device does that is switched off and on."""
        peer, self.peer = self.connected(), None
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(PATIENCE)
        if self.peer is not None:
            self.peer.close()


@pytest.fixture
def server() -> Generator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_socket_carries_bytes(server: Server) -> None:
    with serve(PySerial(url=f"socket://127.0.0.1:{server.port}")) as client, client.stream() as stream:
        server.connected().sendall(b"boot")
        assert stream.receive() == b"boot"
        stream.send(b"root\r")
        assert server.connected().recv(100) == b"root\r"


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_connection_that_breaks_ends_streams_with_the_cause_and_is_made_again(server: Server, how: str) -> None:
    with serve(PySerial(url=f"socket://127.0.0.1:{server.port}")) as client:
        begin = time.monotonic()
        with pytest.raises(DriverError, match=r"lost at .*(reset by peer|was closed)"), client.stream() as stream:
            if how == "reset":
                server.reset()
            else:
                peer, server.peer = server.connected(), None
                peer.close()
            stream.receive()
        assert time.monotonic() - begin < PATIENCE
        until(lambda: client.call("status")["open"])
        with client.stream() as stream:
            server.connected().sendall(b"again")
            assert stream.receive() == b"again"


def test_a_server_that_refuses_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        pytest.raises(OSError, match=rf"socket://127\.0\.0\.1:{port}: .*; is the service running"),
        serve(PySerial(url=f"socket://127.0.0.1:{port}")),
    ):
        pass


def test_a_device_that_takes_nothing_holds_up_its_writer_only(server: Server) -> None:
    with (
        serve(PySerial(url=f"socket://127.0.0.1:{server.port}")) as client,
        client.stream() as reader,
        suppress(DriverError),
        client.stream() as writer,
    ):
        sender = threading.Thread(target=send_for_ever, args=(writer,), daemon=True)
        sender.start()
        time.sleep(0.3)
        server.connected().sendall(b"still talking")
        assert reader.receive() == b"still talking"
        assert client.call("status", timeout=PATIENCE)["open"]
        server.reset()
        with suppress(DriverError):  # the one who writes is told, too
            while True:
                writer.receive()
        sender.join(PATIENCE)
        assert not sender.is_alive()


def send_for_ever(stream: BlockingStream) -> None:
    with suppress(DriverError):
        while True:
            stream.send(bytes(1 << 20))


@pytest.mark.filterwarnings(r"ignore:set(Daemon|Name):DeprecationWarning")  # pySerial 3.5's own
def test_rfc2217_carries_bytes_and_lines(server: Server) -> None:
    far: Any = serial.serial_for_url("loop://", timeout=0.05)
    peers: list[socket.socket] = []

    def work() -> None:
        peer = server.connected()
        peers.append(peer)

        class Writer:
            def write(self, data: bytes) -> None:
                peer.sendall(data)

        writer: Any = Writer()
        manager = serial.rfc2217.PortManager(far, writer)
        with suppress(OSError):
            peer.settimeout(0.02)
            while True:
                with suppress(TimeoutError):
                    data = peer.recv(1024)
                    if not data:
                        return
                    far.write(b"".join(manager.filter(data)))
                if said := far.read(far.in_waiting):
                    peer.sendall(b"".join(manager.escape(said)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with serve(PySerial(url=f"rfc2217://127.0.0.1:{server.port}")) as client, client.stream() as stream:
        every = bytes(range(256))
        stream.send(every)
        got = b""
        while len(got) < len(every):
            got += stream.receive()
        assert got == every
        client.call("set_dtr", False)
        client.call("set_baudrate", 9600)
        until(lambda: (far.dtr, far.baudrate) == (False, 9600))
    thread.join(PATIENCE)
    far.close()
    for peer in peers:
        peer.close()
