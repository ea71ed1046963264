"""Who finds a port in use is told which exporter has it."""

from __future__ import annotations

import socket
from pathlib import Path

import anyio
import pytest
from jumpstarter.common.exceptions import BusyError
from jumpstarter.config.exporter import ExporterConfigV1Alpha1
from jumpstarter.exporter.direct import TcpListener, check_port, serve_config, serving
from jumpstarter.exporter.ports import announced, server_of


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JMP_LOCK_DIR", str(tmp_path))


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_exporter_that_has_a_port_is_named_by_process_and_configuration(port: int) -> None:
    assert server_of("127.0.0.1", port) == ""
    with announced("127.0.0.1", port, "/etc/lab.yaml"):
        assert "config /etc/lab.yaml" in server_of("127.0.0.1", port)
        assert "process " in server_of("127.0.0.1", port)
        assert server_of("127.0.0.1", port + 1) == ""
    assert server_of("127.0.0.1", port) == ""


def test_an_exporter_on_all_addresses_has_the_port_of_each(port: int) -> None:
    with announced("0.0.0.0", port, "/etc/lab.yaml"):
        assert "/etc/lab.yaml" in server_of("127.0.0.1", port)


def test_a_port_of_another_program_is_just_in_use() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(BusyError, match=r"is in use .Caused.*; stop that one"),
    ):
        check_port(*server.getsockname())


def test_word_that_cannot_be_left_does_no_harm(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JMP_LOCK_DIR", str(tmp_path / "nowhere"))
    with announced("127.0.0.1", port, "/etc/lab.yaml"):
        assert server_of("127.0.0.1", port) == ""


def test_what_keeps_an_exporter_from_serving_is_raised_as_it_is(tmp_path: Path, port: int) -> None:
    pytest.importorskip("jumpstarter_driver_composite", reason="the root of a tree that is read from YAML is one")
    config = tmp_path / "lab.yaml"
    head = "apiVersion: jumpstarter.dev/v1alpha1\nkind: ExporterConfig\nmetadata: {namespace: default, name: lab}\n"
    config.write_text(head)
    loaded = ExporterConfigV1Alpha1.load_path(config)

    async def twice() -> None:
        async with serving(loaded, TcpListener(port=port)):
            with pytest.raises(BusyError, match=rf"port {port} .* \(process \d+, config {config}\) .*; stop that one"):
                await serve_config(loaded, TcpListener(port=port), ready=print)

    anyio.run(twice)
