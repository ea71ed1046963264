"""The commands, in processes of their own next to an exporter."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.exporter.session import Session
from jumpstarter_driver_composite.driver import Composite
from jumpstarter_driver_network.driver import EchoNetwork, TcpNetwork


@pytest.fixture
def exporter() -> Generator[ExitStack]:
    """An exporter until its stack is closed; JUMPSTARTER_HOST leads there."""
    root = Composite(
        children={
            "echo": EchoNetwork(),
            "web": TcpNetwork(host="127.0.0.1", port=80),
            "shy": TcpNetwork(host="127.0.0.1", port=80, enable_address=False),
        }
    )
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        session = stack.enter_context(Session(root_device=root))
        path = stack.enter_context(session.serve_unix())
        session.update_status(ExporterStatus.LEASE_READY)
        patch.setenv("JUMPSTARTER_HOST", str(path))
        yield stack


def command(*args: str) -> list[str]:
    return [sys.executable, "-c", "from jumpstarter.cli.j import main; main()", *args]


def j(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def running(*args: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A command until the context ends, and the line that it prints first."""
    process: Any = subprocess.Popen(
        command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            yield process, process.stdout.readline().rstrip("\n")
        finally:
            if process.poll() is None:
                process.kill()


def exchange(connection: socket.socket) -> bytes:
    connection.settimeout(60)
    connection.sendall(b"hello")
    return connection.recv(100)


@pytest.mark.usefixtures("exporter")
class TestForward:
    def test_a_tcp_port_is_forwarded_until_ctrl_c(self) -> None:
        with running("echo", "forward-tcp") as (process, line):
            host, port = line.split(":")
            assert host == "127.0.0.1"
            with socket.create_connection((host, int(port))) as connection:
                assert exchange(connection) == b"hello"
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""

    def test_address_and_port_can_be_chosen(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with running("echo", "forward-tcp", "--address", "localhost", str(port)) as (_, line):
            assert line == f"127.0.0.1:{port}"

    def test_a_port_in_use_is_an_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            result = j("echo", "forward-tcp", str(port))
        assert result.returncode == 75
        assert result.stderr == f"j: error: 127.0.0.1:{port} is in use; choose another port, or 0 for a free one\n"

    def test_a_unix_socket_is_forwarded_until_ctrl_c(self, tmp_path: Path) -> None:
        for args in ([], [str(tmp_path / "echo")]):
            with running("echo", "forward-unix", *args) as (process, line):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(line)
                    assert exchange(connection) == b"hello"
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
            assert not Path(line).exists()

    def test_the_loss_of_the_exporter_ends_it_with_an_error(self, exporter: ExitStack) -> None:
        with running("echo", "forward-tcp") as (process, line):
            host, port = line.split(":")
            with socket.create_connection((host, int(port))) as connection:
                assert exchange(connection) == b"hello"
                exporter.close()
                assert process.wait(60) == 69
                with pytest.raises(ConnectionResetError):
                    connection.recv(100)
            assert process.stderr is not None
            assert process.stderr.read().splitlines()[-1].startswith("j: error: the exporter is gone; start it again")

    @pytest.mark.parametrize("args", [["forward-tcp", "65536"], ["forward-tcp", "http"], ["forward-unix", "a", "b"]])
    def test_wrong_use_is_a_usage_error(self, args: list[str]) -> None:
        assert j("echo", *args).returncode == 2


@pytest.mark.usefixtures("exporter")
class TestAddress:
    @pytest.mark.parametrize(
        ("options", "output"),
        [
            ([], "tcp://127.0.0.1:80"),
            (["--host"], "127.0.0.1"),
            (["--port"], "80"),
            (["--host", "--port"], "127.0.0.1:80"),
        ],
    )
    def test_it_prints_what_is_asked_for(self, options: list[str], output: str) -> None:
        result = j("web", "address", *options)
        assert (result.stdout, result.returncode) == (f"{output}\n", 0)

    def test_a_secret_address_is_an_error(self) -> None:
        result = j("shy", "address")
        assert result.returncode == 70
        assert "enable_address is false" in result.stderr

    def test_a_driver_without_an_address_says_so(self) -> None:
        result = j("echo", "address")
        assert result.returncode == 70
        assert "address" in result.stderr


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("jumpstarter_driver_network.client, jumpstarter_driver_network.adapters", {"anyio", "pydantic", "pexpect"}),
        ("jumpstarter_driver_network.driver", {"click", "grpc", "pydantic", "websockets", "jumpstarter.client"}),
    ],
)
def test_what_is_slow_to_import_waits_until_it_is_used(modules: str, heavy: set[str]) -> None:
    code = f"import sys, {modules}; bad = {heavy} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True)
