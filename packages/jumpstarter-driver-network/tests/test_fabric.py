"""An ssh server behind the exporter, by fabric; the server is paramiko's."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from jumpstarter.common import utils
from jumpstarter.driver import Driver
from jumpstarter_driver_network.adapters import FabricAdapter
from jumpstarter_driver_network.driver import TcpNetwork

paramiko = pytest.importorskip("paramiko")

Services = Callable[[Callable[[socket.socket], None]], Any]


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


class Board(paramiko.ServerInterface):
    """Lets root in by a password, and says what it was asked to do."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.command = b""

    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == ("root", "board")
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        self.command = command
        self.asked.set()
        return True


def test_a_command_runs_on_the_board(tcp_service: Services) -> None:
    key = paramiko.RSAKey.generate(2048)
    ended = threading.Event()

    def sshd(connection: socket.socket) -> None:
        board, transport = Board(), paramiko.Transport(connection)
        transport.add_server_key(key)
        transport.start_server(server=board)
        channel = transport.accept(60)
        assert board.asked.wait(60)
        channel.sendall(b"ran " + board.command)
        channel.send_exit_status(3)
        channel.close()
        transport.join(60)  # until the client goes
        if not transport.is_active():
            ended.set()

    with serve(TcpNetwork(host="127.0.0.1", port=tcp_service(sshd).port)) as client:
        secrets = {"password": "board", "look_for_keys": False, "allow_agent": False}
        with FabricAdapter(client=client, user="root", connect_kwargs=secrets) as ssh:
            result = ssh.run("uname -a", hide=True, warn=True, in_stream=False)
            assert (result.stdout, result.return_code, result.connection.user) == ("ran uname -a", 3, "root")
        assert ended.wait(60)


def test_a_missing_library_is_named_with_the_way_to_install_it() -> None:
    code = (
        "import sys; sys.modules['fabric'] = None\n"
        "from jumpstarter.common.exceptions import ArgumentError\n"
        "from jumpstarter_driver_network.adapters import FabricAdapter\n"
        "try: FabricAdapter(client=None).__enter__()\n"
        "except ArgumentError as e: print(e)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "pip install 'jumpstarter-driver-network[fabric]'" in output
