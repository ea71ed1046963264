"""Controllers that are none, or not trusted; many clients at once; and how the commands tell of a controller."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import grpc
import pytest
import yaml
from fakecontroller import FakeController
from google.protobuf.empty_pb2 import Empty
from jumpstarter.cli.durations import parse_duration, show
from jumpstarter.cli.login import read_offer
from jumpstarter.client.connection import Stub
from jumpstarter.client.grpc import ClientService
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.common.grpc import aio_secure_channel, ssl_channel_credentials
from jumpstarter.common.streams import connect_router_stream
from jumpstarter.config.client import ClientConfigV1Alpha1
from jumpstarter.config.grpc import call_credentials
from jumpstarter.config.tls import TLSConfigV1Alpha1
from jumpstarter.streams.common import create_memory_stream
from leasebench import wait_for

if TYPE_CHECKING:
    from leasebench import LeaseBench

    from tests.conftest import Certify

pytestmark = pytest.mark.timeout(120)

CLIENTS = int(os.environ.get("JMP_TEST_CLIENTS", "200"))


@contextmanager
def listening(answer: bytes = b"", *, silent: bool = False) -> Generator[int]:
    """A TCP port that says the same to everybody, or nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                if not silent:
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for connection in held:
                connection.close()


def misdirected(bench: LeaseBench, port: int, **changes: Any) -> Path:
    """A client's configuration with another port, or other changes."""
    file = bench.client_file()
    config = yaml.safe_load(file.read_text())
    config |= {"endpoint": f"127.0.0.1:{port}", **changes}
    file.write_text(yaml.safe_dump(config))
    return file


# who is no controller


def told(bench: LeaseBench, file: Path) -> tuple[int, str, float]:
    started = time.monotonic()
    done = bench.lab.run("jmp", "get", "exporters", "--client-config", file)
    return done.returncode, done.stderr, time.monotonic() - started


def test_a_port_that_speaks_something_else(bench: LeaseBench):
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        status, said, seconds = told(bench, misdirected(bench, port))
    assert (status, len(said.splitlines())) == (69, 1)
    assert "does not speak our TLS" in said or "closed the connection" in said
    assert seconds < 10


def test_a_port_that_says_nothing(bench: LeaseBench):
    with listening(silent=True) as port:
        status, said, seconds = told(bench, misdirected(bench, port))
    assert (status, len(said.splitlines())) == (69, 1)
    assert "no answer in time" in said
    assert seconds < 15


def test_an_authority_that_did_not_sign(
    bench: LeaseBench, controller: FakeController, certify: Certify, tmp_path: Path
):
    from base64 import b64encode

    other, _ = certify(tmp_path)
    file = misdirected(bench, controller.port, tls={"ca": b64encode(other.read_bytes()).decode()})
    status, said, seconds = told(bench, file)
    assert (status, len(said.splitlines())) == (69, 1)
    assert "certificate is not trusted" in said
    assert seconds < 10
    assert not controller.calls  # no token went there


def test_an_authority_that_is_none(bench: LeaseBench, controller: FakeController):
    status, said, _ = told(bench, misdirected(bench, controller.port, tls={"ca": "bm9uZQ=="}))
    assert status == 65
    assert "tls.ca holds no certificates" in said


def test_a_name_that_does_not_resolve(bench: LeaseBench):
    status, said, seconds = told(bench, misdirected(bench, 1, endpoint="controller.invalid:443"))
    assert (status, len(said.splitlines())) == (69, 1)
    assert "host name is not known" in said
    assert seconds < 10


def test_an_exporter_tells_of_an_authority_that_did_not_sign_and_tries_again(
    bench: LeaseBench, controller: FakeController, certify: Certify, tmp_path: Path
):
    from base64 import b64encode

    other, _ = certify(tmp_path)
    controller.add_exporter("board1")
    path, _ = bench.exporter_file("board1")
    config = yaml.safe_load(path.read_text())
    config["tls"]["ca"] = b64encode(other.read_bytes()).decode()
    path.write_text(yaml.safe_dump(config))
    with bench.lab.started(config=path) as exporter:
        wait_for(lambda: any("certificate is not trusted" in line for line in exporter.lines), 10)
        assert exporter.process.poll() is None
        assert exporter.stop() == 0
    assert not controller.calls


def test_an_insecure_client_takes_the_certificate_as_it_is(bench: LeaseBench, controller: FakeController):
    controller.add_exporter("board1", board="x")
    status, said, _ = told(bench, misdirected(bench, controller.port, tls={"insecure": True}))
    assert status == 0, said
    assert said.count("INSECURE") == 1


def test_a_certificate_that_was_taken_at_login_is_the_only_one_later(
    bench: LeaseBench, controller: FakeController, certify: Certify, tmp_path: Path
):
    def login(*options: str) -> Any:
        who = ("--endpoint", controller.endpoint, "--namespace", "default")
        return bench.lab.run("jmp", "login", "alice@", *who, *options, JMP_TOKEN=controller.state.clients["alice"])

    assert login("--nointeractive").returncode == 69
    done = login("-k", "--nointeractive")
    assert done.returncode == 0, done.stderr
    assert re.search(r"has the SHA-256 fingerprint ([0-9A-F]{2}:){31}[0-9A-F]{2}\n", done.stderr)
    file = bench.lab.directory / "home/.config/jumpstarter/clients/alice.yaml"
    config = ClientConfigV1Alpha1.from_file(file)
    assert (config.tls.insecure, config.tls.ca) == (False, controller.ca)
    assert bench.lab.run("jmp", "get", "exporters").returncode == 0
    other = FakeController(*(file.read_bytes() for file in certify(tmp_path)))
    with other:
        other.state.clients["alice"] = controller.state.clients["alice"]
        config.endpoint = other.endpoint
        ClientConfigV1Alpha1.save(config, file)
        refused = bench.lab.run("jmp", "get", "exporters")
        assert (refused.returncode, len(refused.stderr.splitlines())) == (69, 1)
        assert "certificate is not trusted" in refused.stderr
        assert not other.calls


def test_a_client_whose_token_is_refused(bench: LeaseBench, controller: FakeController):
    status, said, _ = told(bench, misdirected(bench, controller.port, token="stale"))
    assert status == 77
    assert "refuses: token is invalid or has expired; get a valid token with jmp login" in said


def test_a_controller_that_is_slow_is_no_controller_that_is_away(
    bench: LeaseBench, controller: FakeController, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("jumpstarter.client.grpc.CONNECT_TIMEOUT", 0.2)
    config = ClientConfigV1Alpha1.from_file(bench.client_file())
    controller.add_exporter("board1")
    controller.hang("ListExporters")
    timer = threading.Timer(1.0, controller.heal)
    timer.start()
    assert [exporter.name for exporter in config.list_exporters().exporters] == ["board1"]
    timer.join()


# for other programs


def test_two_who_know_a_token_are_joined_by_the_router(controller: FakeController):
    tls = TLSConfigV1Alpha1(ca=controller.ca)

    async def meet() -> bytes:
        token, received = controller.router.token(), b""
        left, right = [create_memory_stream() for _ in range(2)]
        async with anyio.create_task_group() as tasks:

            async def other() -> None:
                async with connect_router_stream(controller.router.endpoint, token, right[1], tls, {}):
                    await right[0].send(b"hello")
                    await right[0].send_eof()

            tasks.start_soon(other)
            async with connect_router_stream(controller.router.endpoint, token, left[1], tls, {}):
                received = b"".join([data async for data in left[0]])
                await left[0].send_eof()
        for ours, _ in (left, right):
            await ours.aclose()
        return received

    assert anyio.run(meet) == b"hello"


def test_a_channel_is_made_of_a_configuration_s_parts(bench: LeaseBench, controller: FakeController):
    config = ClientConfigV1Alpha1.from_file(bench.client_file())
    controller.add_exporter("board1")

    async def ask() -> list[str]:
        credentials = grpc.composite_channel_credentials(
            await ssl_channel_credentials(controller.endpoint, config.tls),
            call_credentials("Client", config.metadata, str(config.token)),
        )
        async with aio_secure_channel(controller.endpoint, credentials, config.grpcOptions) as channel:
            found = await ClientService(channel, "default").ListExporters()
            return [exporter.name for exporter in found.exporters]

    assert anyio.run(ask) == ["board1"]


# many at once


@pytest.mark.alone
def test_many_clients_reconnect_at_once(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter, bench.leased() as (lease, board), lease.serve_unix() as path:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 1000)]
        channels = [grpc.insecure_channel(f"unix:{path}", options=options) for _ in range(CLIENTS)]
        try:

            def ask(channel: grpc.Channel) -> bool:
                stub: Any = Stub(channel)
                deadline = time.monotonic() + 45
                while True:
                    try:
                        return bool(stub.GetReport(Empty(), timeout=45, wait_for_ready=True).reports)
                    except grpc.RpcError:  # its connection had not noticed yet that it is dead
                        if time.monotonic() > deadline:
                            raise

            with ThreadPoolExecutor(CLIENTS) as pool:
                assert all(pool.map(ask, channels))
                controller.router.stop()
                controller.router.start()
                started = time.monotonic()
                assert all(pool.map(ask, channels))
                assert time.monotonic() - started < 15
            assert board.call("look") >= 0
        finally:
            for channel in channels:
                channel.close()
        assert exporter.exporter.process.poll() is None


# commands


def test_exporters_are_shown(bench: LeaseBench, controller: FakeController):
    file = bench.client_file()
    controller.add_exporter("board2", board="y")
    with bench.exporter(board="x"):
        controller.lease("board1", "alice", name="one")
        controller.wait_status("board1", "LEASE_READY")

        def get(*options: str) -> str:
            done = bench.lab.run("jmp", "get", "exporters", "--client-config", file, *options)
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert get("-o", "name").split() == ["board1", "board2"]
        assert get("-l", "board=y", "-o", "name").split() == ["board2"]
        controller.state.exporters["board2"].enabled = False
        assert get("-o", "name").split() == ["board1"]
        assert get("--allow-disabled", "--show-hidden-labels", "-o", "name").split() == ["board1", "board2"]
        shown = [call.request.show_hidden_labels for call in controller.calls if call.method == "ListExporters"]
        assert shown[-2:] == [False, True]
        controller.state.exporters["board2"].enabled = True
        facts = json.loads(get("--with", "leases,online,status", "-o", "json"))["exporters"]
        assert facts[0]["labels"] == {"board": "x", "jumpstarter.dev/name": "board1"}
        assert facts[0]["lease"]["name"] == "one"
        assert (facts[0]["online"], facts[0]["status"]) == (True, "LEASE_READY")
        assert yaml.safe_load(get("-o", "yaml"))["exporters"][1]["name"] == "board2"
        assert get().splitlines()[0].split() == ["NAME", "LABELS"]


def test_leases_are_made_shown_changed_and_ended(bench: LeaseBench, controller: FakeController):
    file = bench.client_file()
    controller.add_client("bob")
    with bench.exporter(board="x"):

        def jmp(*command: str, status: int = 0) -> str:
            done = bench.lab.run("jmp", *command, "--client-config", file)
            assert done.returncode == status, done.stderr
            return done.stdout if status == 0 else done.stderr

        assert "-l board=rpi4" in jmp("create", "lease", "--duration", "1h", status=2)
        name = jmp(
            "create",
            "lease",
            "-l",
            "board=x",
            "--duration",
            "1h30m",
            "--tag",
            "ci=1",
            "--lease-id",
            "mine",
            "-o",
            "name",
        )
        assert name.strip() == "mine"
        controller.wait_status("board1", "LEASE_READY")
        lease = json.loads(jmp("get", "leases", "-o", "json"))["leases"][0]
        assert (lease["exporter"], lease["client"], lease["duration"]) == ("board1", "alice", "1h30m")
        assert (lease["status"], lease["tags"]) == ("Ready", {"ci": "1"})
        assert json.loads(jmp("update", "lease", "mine", "--duration", "2h", "-o", "json"))["duration"] == "2h"
        later = jmp("update", "lease", "mine", "--begin-time", "2999-01-01T00:00", status=70)
        assert "the lease has begun" in later
        jmp("update", "lease", "mine", "--to-client", "bob")
        assert jmp("get", "leases", "-o", "name") == ""
        assert jmp("get", "leases", "-A", "-o", "name").strip() == "mine"
        assert jmp("get", "leases", "-A", "-l", "board=x", "-o", "name").strip() == "mine"
        assert jmp("get", "leases", "-A", "-l", "board=x,!broken", "-o", "name") == ""
        assert jmp("get", "leases", "-A", "--tag-filter", "ci=1", "-o", "name").strip() == "mine"
        assert jmp("get", "leases", "-A", "--tag-filter", "ci=2", "-o", "name") == ""
        assert "belongs to another client" in jmp("delete", "leases", "mine", status=77)
        assert "belongs to another client" in jmp("delete", "leases", "--all-clients", status=77)
        assert jmp("delete", "leases", "--all", "-o", "name") == ""
        controller.state.leases["mine"].client = "alice"
        assert jmp("delete", "leases", "--selector", "board=y", "-o", "name") == ""
        assert "say which" in jmp("delete", "leases", "mine", "--all", status=2)
        assert jmp("delete", "leases", "-l", "board=x", "-o", "name").strip() == "mine"
        assert jmp("get", "leases", "-a", "-o", "name").strip() == "mine"
        assert "not found" in jmp("delete", "lease", "nothing", status=70)


def test_a_shell_uses_the_only_lease_and_says_what_it_needs(bench: LeaseBench, controller: FakeController):
    file = bench.client_file()
    with bench.exporter(board="x"):

        def shell(*options: str) -> Any:
            return bench.lab.run("jmp", "shell", "--client-config", file, *options, "--", "sh", "-c", "env; exit 3")

        none = shell()
        assert none.returncode == 2
        assert "it has no lease" in none.stderr
        nobody = shell("-l", "board=z")
        assert nobody.returncode == 69
        assert "no exporter for board=z" in nobody.stderr
        controller.lease("board1", "alice", name="one")
        done = shell()
        assert done.returncode == 3
        assert "JMP_LEASE=one\n" in done.stdout
        assert "JMP_EXPORTER=board1\n" in done.stdout
        assert "JMP_EXPORTER_LABELS=board=x,jumpstarter.dev/name=board1\n" in done.stdout
        assert controller.state.leases["one"].ended is None  # it is not the shell's
        busy = shell("-n", "board1", "--acquisition-timeout", "5")
        assert busy.returncode == 75
        assert "no exporter was free within 5 s: board1" in busy.stderr
        exclusive = shell("-l", "board=x", "--socket", "x")
        assert exclusive.returncode == 2


def test_a_shell_waits_no_longer_than_it_is_told(bench: LeaseBench, controller: FakeController):
    file = bench.client_file()

    def shell(*options: str) -> tuple[int, str, float]:
        started = time.monotonic()
        done = bench.lab.run("jmp", "shell", "--client-config", file, "-n", "board1", *options, "--", "true")
        return done.returncode, done.stderr, time.monotonic() - started

    with bench.exporter():
        controller.fail("Dial", grpc.StatusCode.UNAVAILABLE, "no router")
        status, said, seconds = shell("--dial-timeout", "5")
        assert (status, seconds >= 5, seconds < 25) == (69, True, True), said
        assert "no router" in said
        controller.heal()
        controller.stop()
        status, said, seconds = shell("--retry-timeout", "5")
        assert (status, seconds >= 2, seconds < 25) == (69, True, True), said  # a try after the 5 s is not begun
        assert "trying again for 5 s" in said
        controller.start()


def test_a_client_of_the_environment(bench: LeaseBench, controller: FakeController):
    controller.add_exporter("board1")
    variables = {
        "JMP_NAMESPACE": "default",
        "JMP_NAME": "alice",
        "JMP_ENDPOINT": controller.endpoint,
        "JMP_TOKEN": controller.state.clients["alice"],
        "JMP_TLS": json.dumps({"ca": controller.ca}),
    }
    done = bench.lab.run("jmp", "get", "exporters", "-o", "name", **variables)
    assert (done.returncode, done.stdout) == (0, "board1\n"), done.stderr


def test_clients_are_written_chosen_and_deleted(bench: LeaseBench, controller: FakeController, certificate: Any):
    token = bench.lab.directory / "token"
    token.write_text(controller.state.clients["alice"] + "\n")
    token.chmod(0o600)

    def jmp(*command: str | Path, status: int = 0) -> str:
        done = bench.lab.run("jmp", *command)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    nobody = jmp("get", "exporters", status=65)
    assert "no client is chosen" in nobody
    who = ("--endpoint", controller.endpoint, "--namespace", "default", "--name", "alice", "--token-file", token)
    written = jmp("config", "client", "create", "lab", *who, "--tls-ca", certificate[0], "-o", "path").strip()
    home = bench.lab.directory / "home/.config/jumpstarter"
    assert written == str(home / "clients/lab.yaml")
    assert stat.S_IMODE((home / "clients/lab.yaml").stat().st_mode) == 0o600
    assert jmp("get", "exporters", "-o", "name") == ""  # the first client is the current one
    assert "already" in jmp("config", "client", "create", "lab", *who, status=65)
    elsewhere = bench.lab.directory / "elsewhere.yaml"
    jmp("config", "client", "create", "spare", *who, "--allow", "a.*,b.*")
    jmp("config", "client", "create", "free", *who, "--unsafe", "--out", elsewhere)
    spare, free = (ClientConfigV1Alpha1.from_file(path) for path in (home / "clients/spare.yaml", elsewhere))
    assert (spare.drivers.allow, spare.drivers.unsafe) == (["a.*", "b.*"], False)
    assert (free.drivers.allow, free.drivers.unsafe) == ([], True)
    assert not (home / "clients/free.yaml").exists()
    assert json.loads(jmp("config", "client", "list", "-o", "json"))["clients"][0]["current"] is True
    jmp("config", "client", "use", "spare")
    assert yaml.safe_load((home / "config.yaml").read_text())["config"] == {"current-client": "spare"}
    assert "jmp: error" in jmp("config", "client", "use", "nobody", status=65)
    jmp("config", "client", "delete", "spare")
    assert yaml.safe_load((home / "config.yaml").read_text())["config"] == {"current-client": None}
    made = jmp("config", "exporter", "create", "board9", *who, "-o", "path").strip()
    assert yaml.safe_load(Path(made).read_text())["endpoint"] == controller.endpoint
    assert jmp("config", "exporter", "list", "-o", "name").strip() == "board9"
    jmp("config", "exporter", "delete", "board9")
    assert jmp("config", "exporter", "list", "-o", "name") == ""


def test_logging_in(bench: LeaseBench, controller: FakeController, certificate: Any):
    ca = certificate[0]

    def login(*options: str | Path, token: str) -> Any:
        who = ("--endpoint", controller.endpoint, "--namespace", "default", "--tls-ca", ca)
        return bench.lab.run("jmp", "login", "alice@", *who, *options, JMP_TOKEN=token)

    home = bench.lab.directory / "home/.config/jumpstarter/clients"
    bad = login(token="stale")
    assert bad.returncode == 77
    assert "token is invalid" in bad.stderr
    assert not home.exists()
    good = login(token=controller.state.clients["alice"])
    assert good.returncode == 0, good.stderr
    assert "logged in as alice" in good.stdout
    config = ClientConfigV1Alpha1.from_file(home / "alice.yaml")
    assert (config.metadata.name, config.tls.ca) == ("alice", controller.ca)
    assert config.token == controller.state.clients["alice"]
    assert bench.lab.run("jmp", "get", "exporters").returncode == 0
    assert login("--allow", "a.*", token=controller.state.clients["alice"]).returncode == 0
    again = ClientConfigV1Alpha1.from_file(home / "alice.yaml")
    assert (again.drivers.allow, again.drivers.unsafe) == (["a.*"], False)
    untrusted = bench.lab.run(
        *("jmp", "login", "--endpoint", controller.endpoint, "--namespace", "default", "--name", "bob"), JMP_TOKEN="x"
    )
    assert untrusted.returncode == 69
    assert "certificate is not trusted" in untrusted.stderr
    assert not (home / "bob.yaml").exists()


def test_what_a_host_says_of_its_controller():
    offer = read_offer({"grpcEndpoint": "grpc.lab:443", "namespace": "n", "caBundle": "-----BEGIN X"}, "u")
    assert (offer.endpoint, offer.namespace) == ("grpc.lab:443", "n")
    assert offer.ca == "LS0tLS1CRUdJTiBY"
    wrongs: tuple[Any, ...] = ([], {}, {"grpcEndpoint": 7}, {"grpcEndpoint": "x", "caBundle": 7})
    for wrong in wrongs:
        with pytest.raises(ConfigurationError):
            read_offer(wrong, "u")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("1d3h40m", 99600),
        ("30m", 1800),
        ("PT30M", 1800),
        ("P1DT2H", 93600),
        ("01:30:00", 5400),
        ("00:45", 2700),
    ],
)
def test_durations(text: str, seconds: float):
    assert parse_duration(text).total_seconds() == seconds
    assert parse_duration(show(parse_duration("1d3h40m"))).total_seconds() == 99600


@pytest.mark.parametrize("text", ["", "h", "-5", "5 apples", "P", "PT", "1:99", "3m2h"])
def test_texts_that_are_no_durations(text: str):
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)
