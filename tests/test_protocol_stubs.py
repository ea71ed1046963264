"""The checked-in modules of jumpstarter_protocol are what /protocol says."""

import os
import subprocess
import sys
from pathlib import Path

import jumpstarter_protocol
import pytest
from google.protobuf.descriptor import FileDescriptor
from jumpstarter_protocol import (
    client_pb2,
    common_pb2,
    jumpstarter_pb2,
    kubernetes_pb2,
    router_pb2,
    telemetry_pb2,
)


@pytest.mark.slow
def test_generated_modules_are_fresh(root: Path, uv: str) -> None:
    env = {**os.environ, "PATH": f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"}
    check = subprocess.run([root / "scripts/generate", "--check"], capture_output=True, text=True, env=env, check=False)
    assert check.returncode == 0, check.stderr


def test_importing_the_package_imports_no_module_of_it() -> None:
    assert modules_after("import jumpstarter_protocol") == set()


def test_messages_cost_no_grpc() -> None:
    loaded = modules_after("from jumpstarter_protocol import client_pb2, jumpstarter_pb2, router_pb2")
    assert "jumpstarter_protocol.jumpstarter.v1.jumpstarter_pb2" in loaded
    assert "grpc" not in loaded


@pytest.mark.parametrize("name", jumpstarter_protocol.__all__)
def test_every_exported_name_is_a_module(name: str) -> None:
    assert getattr(jumpstarter_protocol, name).__name__.endswith(f".{name}")


def test_unknown_name_is_an_attribute_error() -> None:
    name = "nothing_pb2"
    with pytest.raises(AttributeError, match="no attribute 'nothing_pb2'"):
        getattr(jumpstarter_protocol, name)


@pytest.mark.parametrize(
    ("file", "name", "package"),
    [
        (common_pb2.DESCRIPTOR, "jumpstarter/v1/common.proto", "jumpstarter.v1"),
        (kubernetes_pb2.DESCRIPTOR, "jumpstarter/v1/kubernetes.proto", "jumpstarter.v1"),
        (router_pb2.DESCRIPTOR, "jumpstarter/v1/router.proto", "jumpstarter.v1"),
        (jumpstarter_pb2.DESCRIPTOR, "jumpstarter/v1/jumpstarter.proto", "jumpstarter.v1"),
        (telemetry_pb2.DESCRIPTOR, "jumpstarter/v1/telemetry.proto", "jumpstarter.v1"),
        (client_pb2.DESCRIPTOR, "jumpstarter/client/v1/client.proto", "jumpstarter.client.v1"),
    ],
)
def test_file_and_package_names_are_the_public_ones(file: FileDescriptor, name: str, package: str) -> None:
    assert (file.name, file.package) == (name, package)


def test_bytes_of_a_public_peer_are_understood() -> None:
    # uuid = "u", parent_uuid = "p", labels = {"k": "v"}, description = "d", methods_description = {"on": "x"}
    report = bytes.fromhex("0a0175 120170 1a060a016b120176 220164 2a070a026f6e120178")
    # uuid = "s", reports = [report], motd = "m"
    message = b"\x0a\x01s" + b"\x1a" + bytes([len(report)]) + report + b"\x2a\x01m"
    parsed = jumpstarter_pb2.GetReportResponse.FromString(message)
    assert parsed == jumpstarter_pb2.GetReportResponse(
        uuid="s",
        motd="m",
        reports=[
            jumpstarter_pb2.DriverInstanceReport(
                uuid="u", parent_uuid="p", labels={"k": "v"}, description="d", methods_description={"on": "x"}
            )
        ],
    )


def modules_after(statement: str) -> set[str]:
    """Modules of gRPC and the protocol that a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return {name for name in loaded if name == "grpc" or name.startswith("jumpstarter_protocol.")}
