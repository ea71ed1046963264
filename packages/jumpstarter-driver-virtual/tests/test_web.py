"""The page of the board, over its real socket."""

import hashlib
import json
import socket
import stat
from collections.abc import Generator
from typing import Any

import pytest
from jumpstarter_driver_virtual.emulator import FACTORY_IMAGE, Board, Stage

PATIENCE = 60


@pytest.fixture
def board() -> Generator[Board]:
    board = Board(boot_seconds=0.1, autoboot_seconds=0)
    yield board
    board.close()


def get(board: Board, path: str = "/status.json") -> tuple[str, str]:
    """Fetch a page; returns the first line and the body."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(board.page_path))
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(4096):
            answer += data
    head, _, content = answer.decode().partition("\r\n\r\n")
    return head.splitlines()[0], content


def status(board: Board) -> dict[str, Any]:
    return json.loads(get(board)[1])


def test_the_page_answers_only_while_the_board_is_booted(board: Board):
    with pytest.raises(ConnectionRefusedError):
        get(board)
    board.power_on()
    board.wait_for(Stage.BOOTED, PATIENCE)
    digest = hashlib.sha256(FACTORY_IMAGE).hexdigest()
    line, page = get(board, "/")
    assert line == "HTTP/1.1 200 OK"
    assert "Simulated board" in page
    assert digest in page
    assert status(board)["image"] == {"size": 4096, "sha256": digest}
    assert get(board, "/nope")[0] == "HTTP/1.1 404 Not Found"
    board.power_off()
    with pytest.raises(ConnectionRefusedError):
        get(board)


def test_power_off_ends_an_open_connection(board: Board):
    board.power_on()
    board.wait_for(Stage.BOOTED, PATIENCE)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(board.page_path))
        sock.sendall(b"GET / HT")
        status(board)  # connections are taken in their order
        board.power_off()
        assert sock.recv(100) == b""


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
        (b"x" * 50_000, b"HTTP/1.1 400 "),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 "),
    ],
)
def test_the_page_survives_odd_requests(board: Board, request_bytes: bytes, answer: bytes):
    board.power_on()
    board.wait_for(Stage.BOOTED, PATIENCE)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(board.page_path))
        sock.sendall(request_bytes)
        assert sock.recv(4096).startswith(answer)
    assert status(board)["simulated"] is True


def test_only_the_user_can_reach_the_page(board: Board):
    assert stat.S_IMODE(board.page_path.parent.stat().st_mode) == 0o700
