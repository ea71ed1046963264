"""The message bus of the exporter's host, at the client."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common import utils
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver
from jumpstarter_driver_network.adapters import DbusAdapter
from jumpstarter_driver_network.driver import DbusNetwork

Services = Callable[[Callable[[socket.socket], None]], Any]

VARIABLE = "DBUS_SESSION_BUS_ADDRESS"


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def address_of(text: str) -> tuple[str, int]:
    """What an address of the environment says, as it has to be written for a TCP port."""
    host, port = (part.partition("=")[2] for part in text.removeprefix("tcp:").split(","))
    return host, int(port)


@pytest.fixture
def bus(tmp_path: Path) -> Generator[str]:
    """A real message bus; its address."""
    daemon = shutil.which("dbus-daemon")
    if daemon is None:
        pytest.skip("needs dbus-daemon (Debian: apt install dbus-daemon)")
    command = [daemon, "--session", "--nofork", "--nopidfile", "--print-address", f"--address=unix:path={tmp_path}/bus"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def test_a_real_bus_is_found_by_its_variable(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, bus)
    user = str(os.getuid()).encode().hex()
    with serve(DbusNetwork(kind="session")) as client:
        with client:
            there = os.environ[VARIABLE]
            assert there != bus
            with socket.create_connection(address_of(there), timeout=60) as program:  # D-Bus Specification, "Auth"
                program.sendall(f"\0AUTH EXTERNAL {user}\r\n".encode())
                assert program.recv(1024).startswith(b"OK ")
        assert os.environ[VARIABLE] == bus
        assert client.kind == "session"


@pytest.mark.parametrize("address", ["unix:path={}/service", "autolaunch:;unix:path={}%2Fservice,guid=00"])
def test_every_connection_to_the_local_port_is_one_to_the_bus(
    unix_service: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    service = unix_service(echo)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address.format(tmp_path))
    with serve(DbusNetwork(kind="system")) as client, DbusAdapter(client=client):
        for _ in range(2):
            with socket.create_connection(address_of(os.environ["DBUS_SYSTEM_BUS_ADDRESS"]), timeout=60) as program:
                program.sendall(b"hello")
                assert program.recv(100) == b"hello"
    assert len(service.connections) == 2


def test_a_bus_at_a_tcp_port_and_one_with_an_abstract_name(
    tcp_service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"tcp:host=127.0.0.1,port={tcp_service(echo).port}")
    with serve(DbusNetwork(kind="session")) as client, client.stream() as stream:
        stream.send(b"hello")
        assert stream.receive() == b"hello"
    if sys.platform != "linux":
        return
    monkeypatch.setenv(VARIABLE, "unix:abstract=/nobody/is/here")
    with (
        serve(DbusNetwork(kind="session")) as client,
        pytest.raises(DriverError, match="unix @/nobody/is/here refused the connection"),
        client.stream(),
    ):
        pass


def test_without_a_variable_it_is_at_the_usual_place(
    unix_service: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unix_service(echo)
    (tmp_path / "bus").symlink_to(tmp_path / "service")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with serve(DbusNetwork(kind="session")) as client:
        with client.stream() as stream:
            stream.send(b"hello")
            assert stream.receive() == b"hello"
        with client:
            assert VARIABLE in os.environ
        assert VARIABLE not in os.environ


def test_what_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "autolaunch:")
    with pytest.raises(ConfigurationError, match=f"{VARIABLE}: no unix socket and no TCP port in 'autolaunch:'"):
        DbusNetwork(kind="session")
    with pytest.raises(ConfigurationError, match="kind must be system or session"):
        DbusNetwork(kind="user")  # pyright: ignore[reportArgumentType]
