"""Byte streams through a port forward: whole, whatever the reader does, and in bounded memory."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from peers import dial, digest_of, echo, send_blocks, serving
from processes import MIB, Memory, wait_for

if TYPE_CHECKING:
    from conftest import StartBench

LIMIT = 64 * MIB


def upload(port: int, total: int) -> str:
    """Send through a forward and end; returns the digest."""
    with dial(port) as sock:
        sent = send_blocks(sock, total)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    return sent


def download(port: int, stalls: int) -> str:
    with dial(port) as sock:
        sock.shutdown(socket.SHUT_WR)
        return digest_of(sock, stalls=stalls)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "total", "stalls"), [("tcp", 1024, 0), ("unix", 1024, 0), ("tcp", 128, 4), ("unix", 128, 4)]
)
def test_a_large_upload_arrives_in_bounded_memory(start: StartBench, way: str, total: int, stalls: int):
    with (
        serving(lambda sock: digest_of(sock, stalls=stalls)) as service,
        start(way, service.port) as bench,
        bench.forward() as (client, port),
    ):
        upload(port, 16 * MIB)
        memories = Memory(bench.pid), Memory(client.pid)
        sent = upload(port, total * MIB)
        assert [memory.growth < LIMIT for memory in memories] == [True, True], [m.growth for m in memories]
    assert service.outcomes[1] == sent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "total", "stalls"), [("tcp", 1024, 0), ("unix", 1024, 0), ("tcp", 128, 4), ("unix", 128, 4)]
)
def test_a_large_download_arrives_in_bounded_memory(start: StartBench, way: str, total: int, stalls: int):
    sizes = [16 * MIB, total * MIB]

    with (
        serving(lambda sock: send_blocks(sock, sizes.pop(0))) as service,
        start(way, service.port) as bench,
        bench.forward() as (client, port),
    ):
        download(port, 0)
        memories = Memory(bench.pid), Memory(client.pid)
        received = download(port, stalls)
        assert [memory.growth < LIMIT for memory in memories] == [True, True], [m.growth for m in memories]
    assert service.outcomes[1] == received


def test_a_service_that_answers_after_the_end_is_heard(start: StartBench, transport: str):
    with (
        serving(lambda sock: sock.sendall(digest_of(sock).encode())) as service,
        start(transport, service.port) as bench,
        bench.forward() as (_, port),
        dial(port) as sock,
    ):
        sent = send_blocks(sock, 3 * MIB)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as answer:
            assert answer.read().decode() == sent


def test_a_program_that_answers_after_the_end_is_heard(start: StartBench, transport: str):
    def question(sock: socket.socket) -> tuple[str, str]:
        sent = send_blocks(sock, 3 * MIB)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as answer:
            return sent, answer.read().decode()

    with (
        serving(question) as service,
        start(transport, service.port) as bench,
        bench.forward() as (_, port),
        dial(port) as sock,
    ):
        received = digest_of(sock)
        sock.sendall(received.encode())
        sock.close()
        wait_for(lambda: service.outcomes, 30)
    assert service.outcomes == [(received, received)]


def test_200_connections_at_once_each_get_their_own_bytes(start: StartBench, transport: str):
    together = threading.Barrier(200, timeout=60)

    def talk(number: int) -> bool:
        mine = f"{number:06}".encode() * 1000
        with dial(port) as sock:
            sock.sendall(mine)
            with sock.makefile("rb") as answer:
                assert answer.read(len(mine)) == mine
                together.wait()  # all of them are open now
                sock.sendall(mine)
                sock.shutdown(socket.SHUT_WR)
                return answer.read() == mine

    with (
        serving(echo) as service,
        start(transport, service.port) as bench,
        bench.forward() as (_, port),
        ThreadPoolExecutor(200) as pool,
    ):
        assert all(pool.map(talk, range(200)))
    assert service.outcomes == [None] * 200
