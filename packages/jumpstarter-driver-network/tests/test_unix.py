"""Unix sockets, at the exporter and at the client."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common import utils
from jumpstarter.common.exceptions import ArgumentError, BusyError
from jumpstarter.driver import Driver
from jumpstarter_driver_network.adapters import UnixPortforwardAdapter
from jumpstarter_driver_network.driver import EchoNetwork, UnixNetwork

Services = Callable[[Callable[[socket.socket], None]], Any]


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


def dial(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(path))
    return connection


def test_a_request_and_its_late_answer_pass_through_two_unix_sockets(unix_service: Services, tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        request = b"".join(iter(lambda: connection.recv(65536), b""))
        connection.sendall(b"got %d" % len(request))

    unix_service(answer)
    with (
        serve(UnixNetwork(path=str(tmp_path / "service"))) as client,
        UnixPortforwardAdapter(client=client) as path,
        dial(path) as connection,
    ):
        connection.sendall(bytes(1_000_000))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"got 1000000"
        assert connection.recv(100) == b""


def test_a_temporary_socket_is_private_and_goes_away() -> None:
    with serve(EchoNetwork()) as client:
        with UnixPortforwardAdapter(client=client) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert not path.exists()


def test_a_chosen_path_is_private_and_goes_away(tmp_path: Path) -> None:
    with serve(EchoNetwork()) as client:
        with UnixPortforwardAdapter(client=client, path=tmp_path / "echo") as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with dial(path) as connection:
                connection.sendall(b"hello")
                assert connection.recv(100) == b"hello"
        assert not path.exists()


def test_a_socket_that_nobody_serves_any_more_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "echo"))
    with serve(EchoNetwork()) as client, UnixPortforwardAdapter(client=client, path=str(tmp_path / "echo")) as path:
        dial(path).close()


def test_a_path_in_use_is_left_alone(tmp_path: Path) -> None:
    with serve(EchoNetwork()) as client, UnixPortforwardAdapter(client=client, path=tmp_path / "echo") as path:
        with pytest.raises(BusyError, match="echo is in use"), UnixPortforwardAdapter(client=client, path=path):
            pass
        dial(path).close()
        (tmp_path / "file").write_text("precious")
        with (
            pytest.raises(BusyError, match="file is in use"),
            UnixPortforwardAdapter(client=client, path=tmp_path / "file"),
        ):
            pass
        assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("path", ["missing/echo", "x" * 200])
def test_an_impossible_path_is_named(path: str, tmp_path: Path) -> None:
    with (
        serve(EchoNetwork()) as client,
        pytest.raises(ArgumentError, match=f"cannot listen on .*{path}"),
        UnixPortforwardAdapter(client=client, path=tmp_path / path),
    ):
        pass


def test_a_missing_or_dead_socket_says_which_and_what_to_do(tmp_path: Path) -> None:
    missing, dead, file = tmp_path / "missing", tmp_path / "dead", tmp_path / "file"
    file.touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    for path, problem in (
        (missing, "does not exist; is the service running?"),
        (dead, "refused the connection; is the service running?"),
        (file, "refused the connection; it is not a socket"),
    ):
        with (
            serve(UnixNetwork(path=str(path))) as client,
            pytest.raises(DriverError, match=re.escape(f"unix {path} {problem}")),
            client.stream(),
        ):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
def test_a_forbidden_socket_says_so(unix_service: Services, tmp_path: Path) -> None:
    unix_service(lambda connection: None)
    (tmp_path / "service").chmod(0)
    with (
        serve(UnixNetwork(path=str(tmp_path / "service"))) as client,
        pytest.raises(DriverError, match="permission denied; may the exporter's user use it"),
        client.stream(),
    ):
        pass
