"""An exporter as an object of somebody's own program: under a controller, and by itself."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.from_thread
import grpc
import pytest
from fakestate import NAMESPACE
from jumpstarter.client.client import client_from_path
from jumpstarter.common import ExporterStatus
from jumpstarter.common.exceptions import BusyError, ConfigurationError, NotAllowedError
from jumpstarter.common.importlib import import_class
from jumpstarter.config.common import ObjectMeta
from jumpstarter.config.exporter import ExporterConfigV1Alpha1
from jumpstarter.config.grpc import call_credentials
from jumpstarter.config.hooks import HookConfigV1Alpha1, HookInstanceConfigV1Alpha1
from jumpstarter.config.tls import TLSConfigV1Alpha1
from jumpstarter.exporter import Exporter, Session
from jumpstarter.exporter.auth import PassphraseInterceptor
from jumpstarter.exporter.hooks import HookExecutionError, HookExecutor
from jumpstarter.streams.portal import shared_portal
from jumpstarter_driver_composite.driver import Composite
from leasebench import wait_for

if TYPE_CHECKING:
    from concurrent.futures import Future

    from anyio.from_thread import BlockingPortal
    from fakecontroller import FakeController
    from leasebench import LeaseBench

    from tests.conftest import Lab

Board: Any = import_class("drivers_of_sessions.Board", unsafe=True)


@pytest.fixture(autouse=True)
def places(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets and records of exporters in this process are the test's own."""
    for name in ("XDG_RUNTIME_DIR", "JMP_LOCK_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(lab.directory))


class Running:
    """An exporter that serves on an event loop of its own."""

    def __init__(self, portal: BlockingPortal, exporter: Exporter, ended: Future[None]) -> None:
        self._portal, self.exporter, self._ended = portal, exporter, ended

    def stop(self, **how: Any) -> None:
        self._portal.call(partial(self.exporter.stop, **how))

    def wait(self) -> None:
        """Until it has ended; raises what it raised."""
        self._ended.result(60)


@contextmanager
def running(config: ExporterConfigV1Alpha1) -> Generator[Running]:
    """The exporter of a configuration."""

    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(config.create_exporter()) as exporter,
    ):
        yield Running(portal, exporter, portal.start_task_soon(exporter.serve))


def loaded(bench: LeaseBench, name: str = "board1", beside: str = "") -> ExporterConfigV1Alpha1:
    if name not in bench.controller.state.exporters:
        bench.controller.add_exporter(name)
    return ExporterConfigV1Alpha1.load_path(bench.exporter_file(name, beside)[0])


def test_it_serves_leases_until_it_is_stopped(bench: LeaseBench, controller: FakeController) -> None:
    with running(loaded(bench)) as running_one:
        controller.wait_status("board1", "AVAILABLE")
        with bench.leased() as (_, board):
            board.call("on")
            assert board.call("look") == 1
        running_one.stop(should_unregister=True, exit_code=3)
        running_one.wait()
        assert running_one.exporter.exit_code == 3
    assert controller.statuses("board1")[-1] == "OFFLINE"
    assert controller.count("Unregister") == 1


def test_it_ends_after_the_lease_and_stays_registered_unless_told(
    bench: LeaseBench, controller: FakeController
) -> None:
    with running(loaded(bench)) as running_one:
        controller.wait_status("board1", "AVAILABLE")
        with bench.leased() as (_, board):
            running_one.stop(wait_for_lease_exit=True)
            board.call("on")
            assert board.call("look") == 1
        running_one.wait()
        assert running_one.exporter.exit_code is None
    assert controller.statuses("board1")[-1] == "OFFLINE"
    assert controller.count("Unregister") == 0


def test_leaving_the_context_stops_it(bench: LeaseBench, controller: FakeController) -> None:
    config = loaded(bench)

    async def enter_and_leave() -> None:
        async with anyio.create_task_group() as tasks, config.create_exporter() as exporter:
            tasks.start_soon(exporter.serve)
            await anyio.to_thread.run_sync(controller.wait_status, "board1", "AVAILABLE")

    anyio.run(enter_and_leave)
    assert controller.statuses("board1")[-1] == "OFFLINE"


def test_a_hook_that_is_to_end_it_gives_it_a_status(bench: LeaseBench, controller: FakeController) -> None:
    config = loaded(bench, beside="hooks:\n  beforeLease:\n    script: exit 4\n    onFailure: exit\n")
    with running(config) as running_one:
        controller.wait_status("board1", "AVAILABLE")
        controller.lease("board1", "alice")
        running_one.wait()
        assert running_one.exporter.exit_code == 1
        assert "exit status 4" in str(running_one.exporter.failure)


def test_what_time_does_not_heal_is_raised(bench: LeaseBench) -> None:
    config = loaded(bench)
    config.token = "wrong"
    with running(config) as running_one, pytest.raises(NotAllowedError, match="does not accept the token"):
        running_one.wait()
    config.token = None
    with pytest.raises(ConfigurationError, match="endpoint needs a token"), running(config):
        pass


def test_two_of_one_configuration_do_not_serve_at_once(bench: LeaseBench, controller: FakeController) -> None:
    config = loaded(bench)
    with running(config):
        controller.wait_status("board1", "AVAILABLE")
        with running(config) as another, pytest.raises(BusyError):
            another.wait()


# of a program's own drivers and channel


@pytest.fixture
def by_hand(lab: Lab, controller: FakeController, certificate: tuple[Path, Path]) -> Exporter:
    """An exporter without a configuration file."""
    token = controller.add_exporter("board1").token

    async def channel() -> grpc.aio.Channel:
        who = call_credentials("Exporter", ObjectMeta(namespace=NAMESPACE, name="board1"), token)
        tls = grpc.ssl_channel_credentials(certificate[0].read_bytes())
        return grpc.aio.secure_channel(controller.endpoint, grpc.composite_channel_credentials(tls, who))

    hook = HookInstanceConfigV1Alpha1(script=f"echo $LEASE_NAME of $CLIENT_NAME >{lab.directory}/told")
    return Exporter(
        channel_factory=channel,
        device_factory=lambda: Composite(children={"board": Board(record=str(lab.directory / "record"))}),
        labels={"jumpstarter.dev/name": "board1", "jumpstarter.dev/colour": "red"},
        tls=TLSConfigV1Alpha1(ca=controller.ca),
        hook_executor=HookExecutor(config=HookConfigV1Alpha1(before_lease=hook)),
    )


def test_drivers_and_a_channel_of_ones_own(bench: LeaseBench, controller: FakeController, by_hand: Exporter) -> None:
    with anyio.from_thread.start_blocking_portal() as portal:
        ended = portal.start_task_soon(by_hand.serve)
        controller.wait_status("board1", "AVAILABLE")
        assert controller.state.exporters["board1"].labels["jumpstarter.dev/colour"] == "red"
        with bench.leased() as (lease, board):
            assert board.call("look") == 0
            assert (bench.lab.directory / "told").read_text() == f"{lease.name} of alice\n"
            controller.stop()  # the channel is made again after an outage
            controller.start()
            controller.wait_until(lambda: controller.count("Register") == 2, 30, "registered anew")
        portal.call(by_hand.stop)
        ended.result(60)


def test_it_serves_by_itself_on_a_tcp_port(lab: Lab, certificate: tuple[Path, Path], by_hand: Exporter) -> None:
    chain, key = (file.read_bytes() for file in certificate)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = partial(
        by_hand.serve_standalone_tcp,
        "127.0.0.1",
        port,
        tls_credentials=grpc.ssl_server_credentials([(key, chain)]),
        interceptors=[PassphraseInterceptor("tell me")],
    )
    tls = TLSConfigV1Alpha1(ca=b64encode(chain).decode())

    async def use() -> object:
        with ExitStack() as stack:
            client = client_from_path(
                f"127.0.0.1:{port}", shared_portal(), stack, [], True, tls_config=tls, passphrase="tell me"
            )
            async with client as root:
                return await root.children["board"].call_async("look")

    with anyio.from_thread.start_blocking_portal() as portal:
        ended = portal.start_task_soon(serve)
        wait_for(lambda: is_open(port), 60)
        assert shared_portal().call(use) == 0
        portal.call(by_hand.stop)
        ended.result(60)


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@dataclass
class OwnLease:
    """What a program of one's own knows of a lease."""

    lease_name: str = "lease1"
    client_name: str = "alice"
    hook_socket_path: str = ""


@pytest.mark.parametrize("on_failure", ["warn", "endLease"])
def test_hooks_run_one_by_one_for_whoever_has_leases(lab: Lab, on_failure: Literal["warn", "endLease"]) -> None:
    script = 'test "$LEASE_NAME $CLIENT_NAME" = "lease1 alice" && j board on'
    config = HookConfigV1Alpha1(
        before_lease=HookInstanceConfigV1Alpha1(script=script),
        after_lease=HookInstanceConfigV1Alpha1(script="exit 5", on_failure=on_failure),
    )
    executor, record = HookExecutor(config=config), lab.directory / "record"
    root = Composite(children={"board": Board(record=str(record))})
    with Session(root_device=root) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        lease = OwnLease(hook_socket_path=str(path))
        assert anyio.run(executor.execute_before_lease_hook, lease) is None
        assert record.read_text() == "on\n"
        if on_failure == "warn":
            assert "exit status 5" in str(anyio.run(executor.execute_after_lease_hook, lease))
        else:
            with pytest.raises(HookExecutionError, match="exit status 5"):
                anyio.run(executor.execute_after_lease_hook, lease)
    assert anyio.run(HookExecutor(config=HookConfigV1Alpha1()).execute_before_lease_hook, lease) is None
