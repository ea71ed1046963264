"""UDP through the exporter: one item is one datagram."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from anyio import BrokenResourceError, fail_after, run
from jumpstarter.client.core import DriverError, DriverInvalidArgument
from jumpstarter.common import utils
from jumpstarter.driver import Driver
from jumpstarter_driver_network.driver import UdpNetwork
from jumpstarter_driver_network.streams import DatagramStream


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


@pytest.fixture
def peer() -> Generator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(60)
        yield peer


def network(peer: socket.socket, **options: Any) -> UdpNetwork:
    return UdpNetwork(host="127.0.0.1", port=peer.getsockname()[1], **options)


def test_boundaries_are_kept_both_ways(peer: socket.socket) -> None:
    datagrams = [b"one", b"", b"two", b"x" * 65507, b"\0"]
    with serve(network(peer)) as client, client.stream() as stream:
        for datagram in datagrams:
            stream.send(datagram)
        received = [peer.recvfrom(65536) for _ in datagrams]
        assert [data for data, _ in received] == datagrams
        for datagram in datagrams:
            peer.sendto(datagram, received[0][1])
        assert [stream.receive() for _ in datagrams] == datagrams


def test_only_the_peer_is_heard(peer: socket.socket) -> None:
    with serve(network(peer)) as client, client.stream() as stream, socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stream.send(b"hello")
        address = peer.recvfrom(100)[1]
        stranger.sendto(b"from a stranger", address)
        peer.sendto(b"from the peer", address)
        assert stream.receive() == b"from the peer"


def test_a_refused_datagram_is_lost_and_the_next_one_arrives(
    peer: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    address = peer.getsockname()
    with serve(network(peer)) as client, client.stream() as stream:
        peer.close()
        with caplog.at_level(logging.WARNING):
            deadline = time.monotonic() + 10
            while not caplog.records and time.monotonic() < deadline:
                stream.send(b"nobody is there yet")
                time.sleep(0.01)
            for _ in range(5):
                stream.send(b"nobody is there yet")
        with socket.socket(type=socket.SOCK_DGRAM) as late:
            late.bind(address)
            late.settimeout(60)
            stream.send(b"now")
            while late.recv(100) != b"now":
                pass
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"udp 127.0.0.1:{address[1]}: a datagram was lost: Connection refused"
    ]


def test_a_socket_that_cannot_receive_is_broken() -> None:
    async def receive() -> None:
        with socket.socket() as unconnected, fail_after(60):
            await DatagramStream(unconnected, "udp board:69").receive()

    with pytest.raises(BrokenResourceError, match=r"udp board:69: "):
        run(receive)


def test_what_fits_no_datagram_is_an_error(peer: socket.socket) -> None:
    with serve(network(peer)) as client, client.stream() as stream:
        stream.send(b"x" * 65508)
        with pytest.raises(BrokenResourceError, match="65508 bytes do not fit a datagram"):
            stream.receive()


def test_the_address_is_given_unless_it_is_disabled(peer: socket.socket) -> None:
    with serve(network(peer)) as client:
        assert client.address() == f"udp://127.0.0.1:{peer.getsockname()[1]}"
    with serve(network(peer, enable_address=False)) as client, pytest.raises(DriverInvalidArgument):
        client.address()


def test_an_unknown_host_is_named() -> None:
    with (
        serve(UdpNetwork(host="board.invalid", port=69)) as client,
        pytest.raises(DriverError, match=r"udp board\.invalid:69: name not found"),
        client.stream(),
    ):
        pass
