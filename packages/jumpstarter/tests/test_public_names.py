"""The import paths by which drivers in the wild know the core."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest
from jumpstarter.client.flasher import FlasherClient
from jumpstarter.client.lease import DirectLease
from jumpstarter.common import ExporterStatus
from jumpstarter.common.condition import (
    condition_false,
    condition_message,
    condition_present_and_equal,
    condition_true,
)
from jumpstarter.common.exceptions import ArgumentError
from jumpstarter.common.ipaddr import get_ip_address, get_minikube_ip
from jumpstarter.common.oci import OciCredentials, parse_oci_registry, resolve_oci_credentials
from jumpstarter.common.resources import ClientStreamResource, PresignedRequestResource, Resource
from jumpstarter.common.storage import read_from_storage_device, wait_for_storage_device, write_to_storage_device
from jumpstarter.common.streams import DriverStreamRequest, ResourceStreamRequest, StreamRequestMetadata
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, FlasherInterface, export
from jumpstarter.exporter import Session
from jumpstarter.streams.common import create_memory_stream
from jumpstarter.streams.encoding import (
    SIGNATURE_BUFFER_SIZE,
    AutoDecompressIterator,
    Compression,
    compress_stream,
    compressor,
    create_decompressor,
    detect_compression_from_signature,
)
from jumpstarter.streams.portal import shared_portal
from jumpstarter_protocol import kubernetes_pb2
from pydantic import TypeAdapter, ValidationError

NAMES = {
    "jumpstarter.driver": "Driver FlasherInterface export exportstream",
    "jumpstarter.driver.base": "Driver",
    "jumpstarter.driver.decorators": "export exportstream",
    "jumpstarter.driver.flasher": "FlasherInterface",
    "jumpstarter.client": "DirectLease DriverClient FlasherClient FlasherClientInterface Lease client_from_path",
    "jumpstarter.client.adapters": "blocking",
    "jumpstarter.client.base": "DriverClient StubDriverClient",
    "jumpstarter.client.client": "client_from_channel client_from_path",
    "jumpstarter.client.core": "AsyncDriverClient DriverError DriverInvalidArgument DriverMethodNotImplemented "
    "ExporterNotReady",
    "jumpstarter.client.decorators": "DriverClickGroup driver_click_command driver_click_group",
    "jumpstarter.client.exceptions": "LeaseError",
    "jumpstarter.client.flasher": "FlasherClient FlasherClientInterface PathBuf",
    "jumpstarter.client.grpc": "ClientService Exporter ExporterList Lease LeaseList MultipathExporterStub "
    "parse_client_identifier parse_exporter_identifier parse_lease_identifier",
    "jumpstarter.client.lease": "DirectLease Lease",
    "jumpstarter.client.selectors": "extract_match_labels_filter parse_label_selector selector_contains",
    "jumpstarter.client.status_monitor": "StatusMonitor",
    "jumpstarter.common": "AsyncChannel ControllerStub ExporterStatus ExporterStub HOOK_WARNING_PREFIX LogSource "
    "Metadata RouterStub TemporarySocket TemporaryTcpListener TemporaryUnixListener download_fls exceptions "
    "get_fls_binary get_fls_github_url",
    "jumpstarter.common.condition": "condition_false condition_message condition_present_and_equal condition_true",
    "jumpstarter.common.exceptions": "ArgumentError ConfigurationError ConnectionError EnvironmentVariableNotSetError "
    "ExporterOfflineError ExporterUnreachableError FileNotFoundError JumpstarterException MissingDriverError "
    "ReauthenticationFailed",
    "jumpstarter.common.fls": "download_fls get_fls_binary get_fls_github_url",
    "jumpstarter.common.grpc": "aio_secure_channel ssl_channel_credentials translate_grpc_exceptions",
    "jumpstarter.common.importlib": "cached_import import_class",
    "jumpstarter.common.ipaddr": "get_ip_address get_minikube_ip",
    "jumpstarter.common.metadata": "Metadata",
    "jumpstarter.common.oci": "OciCredentials parse_oci_registry read_auth_file_credentials resolve_oci_credentials",
    "jumpstarter.common.resources": "ClientStreamResource PresignedRequestResource Resource ResourceMetadata",
    "jumpstarter.common.serde": "decode_value encode_value",
    "jumpstarter.common.storage": "read_from_storage_device wait_for_storage_device write_to_storage_device",
    "jumpstarter.common.streams": "DriverStreamRequest ResourceStreamRequest StreamRequest StreamRequestMetadata "
    "connect_router_stream",
    "jumpstarter.common.tempfile": "TemporarySocket TemporaryTcpListener TemporaryUnixListener",
    "jumpstarter.common.utils": "ExporterMetadata env env_with_metadata launch_shell lease_ending_handler serve "
    "serve_async",
    "jumpstarter.config.client": "ClientConfigListV1Alpha1 ClientConfigV1Alpha1 ClientConfigV1Alpha1Drivers "
    "ClientConfigV1Alpha1Lease",
    "jumpstarter.config.common": "CONFIG_API_VERSION CONFIG_PATH ObjectMeta",
    "jumpstarter.config.env": "JMP_DRIVERS_ALLOW JMP_ENDPOINT JMP_LEASE JMP_NAME JMP_NAMESPACE JMP_TOKEN",
    "jumpstarter.config.exporter": "ExporterConfigListV1Alpha1 ExporterConfigV1Alpha1 "
    "ExporterConfigV1Alpha1DriverInstance FailureDetectionConfigV1Alpha1 HookConfigV1Alpha1 HookInstanceConfigV1Alpha1",
    "jumpstarter.config.grpc": "call_credentials",
    "jumpstarter.config.shell": "ShellConfigV1Alpha1",
    "jumpstarter.config.tls": "TLSConfigV1Alpha1",
    "jumpstarter.config.user": "UserConfigV1Alpha1",
    "jumpstarter.exporter": "Exporter Session",
    "jumpstarter.exporter.auth": "PASSPHRASE_METADATA_KEY PassphraseInterceptor passphrase_client_interceptors",
    "jumpstarter.exporter.exporter": "Exporter",
    "jumpstarter.exporter.hooks": "HookExecutionError HookExecutor",
    "jumpstarter.exporter.logging": "LogHandler get_logger",
    "jumpstarter.streams.aiohttp": "AiohttpStreamReaderStream",
    "jumpstarter.streams.blocking": "BlockingStream",
    "jumpstarter.streams.common": "copy_stream create_memory_stream forward_stream",
    "jumpstarter.streams.encoding": "AutoDecompressIterator COMPRESSION_SIGNATURES Compression SIGNATURE_BUFFER_SIZE "
    "compress_stream create_decompressor detect_compression_from_signature",
    "jumpstarter.streams.metadata": "MetadataStream MetadataStreamAttributes",
    "jumpstarter.streams.progress": "ProgressAttribute ProgressStream",
    "jumpstarter.streams.router": "RouterStream",
    "jumpstarter.utils.env": "ExporterMetadata env env_async env_with_metadata env_with_metadata_async",
    "jumpstarter_protocol": "client_pb2 client_pb2_grpc jumpstarter_pb2 jumpstarter_pb2_grpc kubernetes_pb2 "
    "kubernetes_pb2_grpc router_pb2 router_pb2_grpc telemetry_pb2 telemetry_pb2_grpc",
    "jumpstarter_protocol.jumpstarter.v1": "common_pb2 jumpstarter_pb2",
    "jumpstarter_protocol.jumpstarter.client.v1": "client_pb2",
}

MEMBERS = {
    ("jumpstarter.driver", "Driver"): "client close description enumerate extra_labels labels log_level "
    "methods_description name report reset resource resources uuid",
    ("jumpstarter.client.core", "AsyncDriverClient"): "call_async check_exporter_status end_session_async "
    "get_status_async log_stream_async resource_async status status_monitor_async stream_async "
    "streamingcall_async wait_for_hook_status wait_for_lease_ready",
    ("jumpstarter.client", "DriverClient"): "call close log_stream open_stream stream streamingcall",
    ("jumpstarter.client", "Lease"): "connect connect_async monitor monitor_async refresh_channel request "
    "request_async serve_unix serve_unix_async",
    ("jumpstarter.client.grpc", "ClientService"): "CreateLease DeleteLease GetExporter GetLease ListExporters "
    "ListLeases RotateToken UpdateLease",
    ("jumpstarter.client.status_monitor", "StatusMonitor"): "current_status on_status_change previous_status start "
    "status_message status_version stop wait_for_any_of wait_for_status",
    ("jumpstarter.config.client", "ClientConfigV1Alpha1"): "CLIENT_CONFIGS_PATH channel create_lease delete "
    "delete_lease dump_yaml ensure_exists exists from_env from_file get_exporter lease lease_async list "
    "list_exporters list_leases load rotate_token save try_from_env update_lease",
    ("jumpstarter.config.exporter", "ExporterConfigV1Alpha1"): "BASE_PATH SYSTEM_CONFIG_PATH create_exporter delete "
    "dump_yaml exists list load load_path save serve serve_unix serve_unix_async",
    ("jumpstarter.config.exporter", "ExporterConfigV1Alpha1DriverInstance"): "from_path from_str instantiate",
    ("jumpstarter.config.user", "UserConfigV1Alpha1"): "load load_or_create save use_client",
    ("jumpstarter.exporter", "Exporter"): "serve serve_standalone_tcp stop",
    ("jumpstarter.exporter", "Session"): "add_logger_source context_log_source serve_multi_port_async "
    "serve_port_async serve_tcp_and_unix_async serve_tcp_async serve_unix serve_unix_async "
    "serve_unix_with_hook_socket_async update_status",
}
"""What classes have for those who use them."""

LEFT_OUT = {
    "jumpstarter.exporter.lease_context.LeaseContext": "what the tasks of the public exporter share of a lease; "
    "HookExecutor takes anything with lease_name, client_name and hook_socket_path",
    "jumpstarter.exporter.hooks.HookExecutor.run_before_lease_hook": "runs a hook and then tells those tasks, by "
    "functions of that exporter; execute_before_lease_hook runs it for anybody",
    "jumpstarter.exporter.hooks.HookExecutor.run_after_lease_hook": "the same",
    "jumpstarter.logging": "not in release 0.9; passes on to structlog, which nothing here uses",
    "jumpstarter_cli_common": "options and tables of the public commands, which no driver imports",
}
"""Names that the public release has and we have not, with the reason."""


@pytest.mark.parametrize("module", NAMES)
def test_names_are_where_others_import_them(module: str) -> None:
    imported: dict[str, Any] = {}
    exec(f"from {module} import {', '.join(NAMES[module].split())}", imported)  # as they are written in the wild


@pytest.mark.parametrize(("module", "name"), MEMBERS)
def test_members_are_where_others_use_them(module: str, name: str) -> None:
    cls: Any = getattr(import_module(module), name)
    known = {*dir(cls), *getattr(cls, "__dataclass_fields__", ())}
    assert [member for member in MEMBERS[module, name].split() if member not in known] == []


@pytest.mark.parametrize("path", LEFT_OUT)
def test_what_is_left_out_is_not_there(path: str) -> None:
    module, found = path.split(".")[0], path.split(".")[1:]
    where: Any = None
    try:
        where = import_module(module)
        while found:
            name = found.pop(0)
            module = f"{module}.{name}"
            where = getattr(where, name) if hasattr(where, name) else import_module(module)
    except (ImportError, AttributeError):
        return
    raise AssertionError(f"{path} is there: {where}")


class Flasher(FlasherInterface, Driver):
    """Keeps what is written to it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.written: dict[str | None, Any] = {}

    @export
    async def flash(self, source: Any, target: str | None = None) -> None:
        if source["kind"] != "client_stream":
            self.written[target] = source
            return
        async with self.resource(source) as stream:
            self.written[target] = b"".join([data async for data in stream])

    @export
    async def dump(self, target: Any, partition: str | None = None) -> None:
        async with self.resource(target) as stream:
            await stream.send(self.written[partition])


def test_flasher_of_the_core_writes_and_reads_files(tmp_path: Path) -> None:
    image, copy = tmp_path / "image", tmp_path / "copy"
    image.write_bytes(os.urandom(3_000_000))
    driver = Flasher()
    with serve(driver) as client:
        assert isinstance(client, FlasherClient)
        client.flash(image)
        client.dump(copy)
        assert copy.read_bytes() == image.read_bytes()
        client.flash({"a": image, "b": "http://example.org/x%2Fy"})
        assert driver.written["a"] == image.read_bytes()
        assert driver.written["b"]["url"] == "http://example.org/x%2Fy"
        with pytest.raises(ArgumentError, match="mapping"):
            client.flash({"a": image}, target="b")


async def blocks(*data: bytes) -> AsyncIterator[bytes]:
    for block in data:
        yield block


def test_compressed_blocks_are_recognised_by_their_content(encoding: Compression) -> None:
    making = compressor(encoding)
    packed = making.compress(b"content" * 1000) + making.flush()

    async def read(*data: bytes) -> bytes:
        return b"".join([piece async for piece in AutoDecompressIterator(source=blocks(*data))])

    assert anyio.run(read, packed[:3], packed[3:]) == b"content" * 1000
    assert anyio.run(read, b"plain", b" text") == b"plain text"
    assert anyio.run(read) == b""
    with pytest.raises(RuntimeError):
        anyio.run(read, packed[:-4])
    assert detect_compression_from_signature(packed[:SIGNATURE_BUFFER_SIZE]) is encoding
    assert create_decompressor(encoding).decompress(packed) == b"content" * 1000


def test_a_stream_is_compressed_and_decompressed_on_its_way() -> None:
    async def there() -> bytes:
        ours, theirs = create_memory_stream()
        assert compress_stream(ours, None) is ours
        sending, receiving = compress_stream(ours, Compression.XZ), compress_stream(theirs, Compression.XZ)
        await sending.send(b"content" * 1000)
        await sending.send_eof()
        received = b"".join([piece async for piece in receiving])
        await ours.aclose()
        await theirs.aclose()
        return received

    assert anyio.run(there) == b"content" * 1000


def test_a_direct_lease_gives_a_client_and_ends_nothing() -> None:
    class Lamp(Driver):
        @export
        def on(self) -> int:
            return 1

    with Session(root_device=Lamp()) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        with DirectLease(address=str(path), portal=shared_portal(), allow=[], unsafe=True) as lease:
            for _ in range(2):
                with lease.serve_unix() as address, lease.monitor(), lease.connect() as client:
                    assert address == str(path)
                    assert client.call("on") == 1
            assert (lease.name, lease.exporter_name, lease.release, lease.lease_ended) == (
                "direct",
                "direct",
                False,
                False,
            )


def test_conditions_are_found_by_type_and_reason() -> None:
    ready = kubernetes_pb2.Condition(type="Ready", status="True", reason="Won", message="is there")
    found = [ready, kubernetes_pb2.Condition(type="Pending", status="False")]
    assert condition_true(found, "Ready")
    assert not condition_true(found, "Pending")
    assert condition_false(found, "Pending")
    assert not condition_false(found, "Other")
    assert condition_present_and_equal(found, "Ready", "True", "Won")
    assert not condition_present_and_equal(found, "Ready", "True", "Lost")
    assert condition_message(found, "Ready") == "is there"
    assert condition_message(found, "Ready", "Lost") is None


def test_requests_for_streams_are_told_apart_by_their_kind() -> None:
    uuid = "00000000-0000-0000-0000-000000000001"
    driver = StreamRequestMetadata.model_validate({"request": f'{{"kind": "driver", "uuid": "{uuid}", "method": "a"}}'})
    file = StreamRequestMetadata.model_validate({"request": f'{{"kind": "resource", "uuid": "{uuid}"}}'})
    assert isinstance(driver.request, DriverStreamRequest)
    assert isinstance(file.request, ResourceStreamRequest)


def test_handles_are_told_apart_by_their_kind() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Resource)
    stream: dict[str, Any] = {
        "kind": "client_stream",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "x_jmp_content_encoding": "xz",
    }
    request: dict[str, Any] = {"kind": "presigned_request", "headers": {}, "url": "http://example.org", "method": "GET"}
    assert isinstance(adapter.validate_python(stream), ClientStreamResource)
    assert adapter.validate_python(stream).model_dump(mode="json") == stream
    assert isinstance(adapter.validate_python(request), PresignedRequestResource)
    for wrong in ({**request, "method": "DELETE"}, {**stream, "kind": "x"}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_storage_is_copied_both_ways(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(4_000_000))

    async def both_ways() -> None:
        await write_to_storage_device(device, blocks(b"a" * 1_500_000, b"b"), leeway=0)
        ours, theirs = create_memory_stream()
        read_back = b""
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                await read_from_storage_device(device, theirs)
                await theirs.aclose()

            tasks.start_soon(read)
            read_back = b"".join([data async for data in ours])
        await ours.aclose()
        assert read_back == b"a" * 1_500_000 + b"b" + bytes(2_499_999)

    anyio.run(both_ways)


def test_a_medium_that_does_not_come_is_a_timeout(tmp_path: Path) -> None:
    async def wait() -> None:
        await wait_for_storage_device(tmp_path / "nothing", timeout=0.1)

    with pytest.raises(TimeoutError):
        anyio.run(wait)


def test_this_host_has_an_address() -> None:
    socket.inet_aton(get_ip_address())


def test_credentials_of_a_registry_come_from_the_nearest_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OCI_USERNAME", "OCI_PASSWORD", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    auth = tmp_path / "auth.json"
    auth.write_text('{"auths": {"quay.io": {"auth": "dXNlcjpzZWNyZXQ="}, "broken": {"auth": "%"}}}')
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
    assert parse_oci_registry("oci://quay.io/org/image:tag") == "quay.io"
    assert parse_oci_registry("org/image") == "docker.io"
    found = resolve_oci_credentials("oci://quay.io/org/image")
    assert (found.username, found.plain_password) == ("user", "secret")
    assert "secret" not in repr(found)
    assert not resolve_oci_credentials("oci://other.example/org/image").is_authenticated
    monkeypatch.setenv("OCI_USERNAME", "env")
    monkeypatch.setenv("OCI_PASSWORD", "word")
    assert resolve_oci_credentials("oci://quay.io/x").username == "env"
    assert resolve_oci_credentials("oci://quay.io/x", "me", "too").username == "me"
    with pytest.raises(ValueError, match="requires both"):
        OciCredentials(username="alone")


class Lamp(Driver):
    @export
    def on(self) -> int:
        return 1


def used(address: str) -> Any:
    """What a call gets from who serves there, in clear text."""
    lease = DirectLease(address=address, portal=shared_portal(), allow=[], unsafe=True, insecure=True)
    with lease, lease.connect() as client:
        return client.call("on")


def test_a_session_is_served_at_several_places(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def everywhere(session: Session) -> None:
        ask = anyio.to_thread.run_sync
        async with session.serve_multi_port_async(f"127.0.0.1:{port}", f"unix:{tmp_path}/one"):
            assert [await ask(used, f"127.0.0.1:{port}"), await ask(used, f"{tmp_path}/one")] == [1, 1]
        async with session.serve_port_async(f"unix:{tmp_path}/two"):
            assert await ask(used, f"{tmp_path}/two") == 1
        async with session.serve_tcp_and_unix_async("127.0.0.1", 0, tmp_path / "three") as bound:
            assert [await ask(used, f"127.0.0.1:{bound}"), await ask(used, f"{tmp_path}/three")] == [1, 1]
        async with session.serve_unix_with_hook_socket_async() as (clients, hooks):
            assert clients != hooks
            assert [await ask(used, str(clients)), await ask(used, str(hooks))] == [1, 1]
        with pytest.raises(OSError, match="cannot listen on nowhere"):
            async with session.serve_port_async("nowhere:x"):
                pass

    with Session(root_device=Lamp()) as session:
        session.update_status(ExporterStatus.LEASE_READY)
        anyio.run(everywhere, session)


def test_a_client_knows_the_status_that_it_heard_of_last() -> None:
    with serve(Lamp()) as client:
        same: Any = client
        assert same.status is None
        client.portal.call(client.get_status_async)
        assert same.status is ExporterStatus.LEASE_READY


def test_what_a_driver_calls_status_is_its_own() -> None:
    class Meter(Driver):
        @export
        def status(self) -> str:
            return "warm"

    class Board(Driver):
        pass

    with serve(Board(children={"status": Lamp(), "meter": Meter()})) as client:
        board: Any = client
        assert board.status.on() == 1
        assert board.meter.status() == "warm"


def test_the_address_of_a_local_cluster_is_asked_of_its_program(tmp_path: Path) -> None:
    program = tmp_path / "minikube"
    program.write_text('#!/bin/sh\necho "$*" >&2\n[ "$3" != broken ] || exit 3\necho 192.0.2.7\n')
    program.chmod(0o755)
    assert anyio.run(get_minikube_ip, None, str(program)) == "192.0.2.7"
    assert anyio.run(get_minikube_ip, "lab", str(program)) == "192.0.2.7"
    with pytest.raises(RuntimeError, match="status 3: ip -p broken"):
        anyio.run(get_minikube_ip, "broken", str(program))
    with pytest.raises(FileNotFoundError):
        anyio.run(get_minikube_ip, None, str(tmp_path / "nothing"))
