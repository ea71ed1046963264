"""Reports, status, log and policy of a session, over a real socket."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest
from anyio import BrokenResourceError, create_task_group, fail_after
from anyio.abc import ObjectStream
from jumpstarter.client import DriverClient
from jumpstarter.client.base import StubDriverClient
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.core import DriverError, ExporterNotReady
from jumpstarter.client.generic import GenericClient
from jumpstarter.client.tree import InvalidReport, Policy, build_tree
from jumpstarter.common import ExporterStatus
from jumpstarter.common.enums import LogSource
from jumpstarter.common.exceptions import (
    EnvironmentVariableNotSetError,
    ExporterUnreachableError,
    MissingDriverError,
)
from jumpstarter.common.importlib import import_class
from jumpstarter.common.utils import env, serve
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.exporter import Session
from jumpstarter.exporter.logging import LogHistory, LogLine
from jumpstarter.streams.common import create_memory_stream
from jumpstarter.streams.portal import LazyPortal
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb


class Lamp(Driver):
    """Logs what it does."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.resets = 0

    def reset(self) -> None:
        super().reset()
        self.resets += 1

    @export
    def on(self) -> int:
        self.logger.info("lamp is on")
        return self.resets

    @export
    def blink(self) -> Generator[int]:
        yield from (1, 2)

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        ours, theirs = create_memory_stream()
        async with ours, theirs:
            await ours.send(b"light")
            yield theirs


class Strange(Lamp):
    @classmethod
    def client(cls) -> str:
        return "os.system"


@pytest.fixture
def host() -> Generator[tuple[Session, Path]]:
    with Session(root_device=Lamp(description="two lamps", children={"a": Lamp(), "b": Lamp()})) as session:
        session.update_status(ExporterStatus.LEASE_READY)
        with session.serve_unix() as path:
            yield session, path


def test_the_report_is_the_tree_parents_first() -> None:
    lamp = Lamp(labels={"rack": "3"}, description="a lamp", methods_description={"on": "light it"})
    with serve(Lamp(children={"row": Lamp(children={"lamp": lamp})})) as client:
        row = client.children["row"]
        assert (client.path, row.path, row.children["lamp"].path) == ("", "row", "row.lamp")
        seen = row.children["lamp"]
        assert (seen.uuid, seen.name, seen.description) == (lamp.uuid, "lamp", "a lamp")
        assert seen.labels["rack"] == "3"
        assert seen.methods_description == {"on": "light it"}


def test_drivers_are_reset_when_the_session_starts() -> None:
    with serve(Lamp()) as client:
        assert client.call("on") == 1


def test_the_socket_is_for_its_owner_only(host: tuple[Session, Path]) -> None:
    _, path = host
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def use_stream(client: DriverClient) -> object:
    with client.stream() as stream:
        return stream.receive()


WAYS: dict[str, Callable[[DriverClient], object]] = {
    "call": lambda client: client.call("on"),
    "streamed call": lambda client: list(client.streamingcall("blink")),
    "byte stream": use_stream,
}


@pytest.mark.parametrize("way", WAYS)
def test_calls_are_refused_unless_the_session_is_ready(host: tuple[Session, Path], way: str) -> None:
    session, path = host
    with connect(Endpoint(str(path)), Policy(unsafe=True)) as client:
        assert WAYS[way](client)
        session.update_status(ExporterStatus.AVAILABLE, "between leases")
        with pytest.raises(ExporterNotReady, match="exporter is AVAILABLE: between leases"):
            WAYS[way](client)
        assert client.portal.call(client.get_status_async) is ExporterStatus.AVAILABLE
        session.update_status(ExporterStatus.LEASE_READY)
        assert WAYS[way](client)


def test_a_session_without_a_lease_cannot_be_ended(host: tuple[Session, Path]) -> None:
    with connect(Endpoint(str(host[1])), Policy(unsafe=True)) as client:
        assert client.portal.call(client.end_session_async) is False
        client.call("on")


def test_reset_resets_the_drivers(host: tuple[Session, Path]) -> None:
    with connect(Endpoint(str(host[1])), Policy(unsafe=True)) as client:
        before = client.call("on")
        client.stub.blocking.Reset(pb.ResetRequest())
        assert client.call("on") == before + 1


# the log


def test_every_reader_sees_every_line_and_a_late_one_the_history(host: tuple[Session, Path]) -> None:
    seen: dict[str, list[str]] = {"early": [], "late": []}

    def read(who: str) -> None:
        from google.protobuf.empty_pb2 import Empty

        with connect(Endpoint(str(host[1])), Policy(unsafe=True)) as client:
            call = client.stub.blocking.LogStream(Empty())
            for line in call:
                if "lamp" in line.message:
                    assert (line.severity, line.source) == ("INFO", LogSource.DRIVER)
                    seen[who].append(line.message)
                if len(seen[who]) == 20:
                    call.cancel()
                    return

    with connect(Endpoint(str(host[1])), Policy(unsafe=True)) as client:
        early = threading.Thread(target=read, args=("early",))
        early.start()
        for _ in range(20):
            client.call("on")
        late = threading.Thread(target=read, args=("late",))
        late.start()
        for thread in (early, late):
            thread.join(timeout=10)
    assert seen == {"early": ["lamp is on"] * 20, "late": ["lamp is on"] * 20}


def test_the_client_writes_the_exporters_log_to_its_own(
    host: tuple[Session, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "exporter:driver")
    with connect(Endpoint(str(host[1])), Policy(unsafe=True)) as client, client.log_stream():
        client.call("on")
        for _ in range(100):
            if any(record.name == "exporter:driver" for record in caplog.records):
                return
            threading.Event().wait(0.05)
    pytest.fail("no line arrived")


def line(text: str) -> LogLine:
    return LogLine("INFO", text, LogSource.DRIVER, 0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_reader_that_is_too_slow_is_told_what_it_lost() -> None:
    history = LogHistory(max_lines=10)
    history.append(line("first"))
    reader = history.read()
    assert (await anext(reader)).message == "first"
    for i in range(25):
        history.append(line(str(i)))
    assert "15 lines of log lost" in (await anext(reader)).message
    assert [(await anext(reader)).message for _ in range(10)] == [str(i) for i in range(15, 25)]
    await reader.aclose()


@pytest.mark.anyio
async def test_the_history_is_bounded_in_characters() -> None:
    history = LogHistory(max_bytes=100)
    for _ in range(50):
        history.append(line("x" * 30))
    history.close()
    assert len([entry async for entry in history.read()]) == 3


@pytest.mark.anyio
async def test_readers_wait_for_lines_of_any_thread_and_end_with_the_history() -> None:
    history = LogHistory()
    seen: list[str] = []

    async def read() -> None:
        seen.extend([entry.message async for entry in history.read()])

    def write() -> None:
        for i in range(100):
            history.append(line(str(i)))
        history.close()

    with fail_after(5):
        async with create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(read)
            threading.Thread(target=write).start()
    assert sorted(seen, key=int) == [str(i) for i in range(100) for _ in range(2)]


def test_a_client_in_the_same_process_does_not_echo_the_log_into_itself(
    host: tuple[Session, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with connect(Endpoint(str(host[1])), Policy(unsafe=True)) as client, client.log_stream():
        client.call("on")
        for _ in range(100):
            if any(record.name == "exporter:driver" for record in caplog.records):
                break
            threading.Event().wait(0.02)
        client.call("on")
    assert sum("lamp is on" in record.getMessage() for record in caplog.records) <= 4


class Fragile(Lamp):
    """Drivers that misbehave."""

    @export
    def slow(self) -> None:
        self.events.append("slow begins")
        threading.Event().wait(0.5)
        self.events.append("slow ends")

    @exportstream
    @asynccontextmanager
    async def exiting(self) -> AsyncGenerator[ObjectStream[bytes]]:
        yield _Exiting()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.events: list[str] = []
        self.reset_error: BaseException | None = None

    def reset(self) -> None:
        self.events.append("reset")
        if self.reset_error is not None:
            raise self.reset_error

    def close(self) -> None:
        super().close()
        self.events.append("close")


class _Exiting(ObjectStream[bytes]):
    async def receive(self) -> bytes:
        raise SystemExit(3)

    async def send(self, item: bytes) -> None: ...
    async def send_eof(self) -> None: ...
    async def aclose(self) -> None: ...


def test_a_driver_is_not_closed_while_one_of_its_methods_runs() -> None:
    driver = Fragile()
    with serve(driver) as client:
        items = threading.Thread(target=_ignoring_errors, args=(client, "slow"))
        items.start()
        while "slow begins" not in driver.events:
            threading.Event().wait(0.01)
    items.join()
    assert driver.events == ["reset", "slow begins", "slow ends", "close"]


def _ignoring_errors(client: DriverClient, method: str) -> None:
    with suppress(DriverError):  # the exporter ends under the call
        client.call(method)


def test_reset_waits_for_running_calls_and_a_bad_one_ends_nothing() -> None:
    child = Fragile()
    with serve(Lamp(children={"child": child})) as client:
        call = threading.Thread(target=client.children["child"].call, args=("slow",))
        call.start()
        while "slow begins" not in child.events:
            threading.Event().wait(0.01)
        client.stub.blocking.Reset(pb.ResetRequest())
        call.join()
        assert child.events == ["reset", "slow begins", "slow ends", "reset"]
        child.reset_error = SystemExit(3)
        with pytest.raises(grpc.RpcError, match="SystemExit"):
            client.stub.blocking.Reset(pb.ResetRequest())
        child.reset_error = None
        client.call("on")


def test_a_stream_that_raises_system_exit_ends_nothing_else() -> None:
    with serve(Fragile()) as client:
        # told when it is opened or when it is read, as the failure comes before the one or the other
        with pytest.raises((DriverError, BrokenResourceError), match="SystemExit"), client.stream("exiting") as stream:
            stream.receive()
        client.call("on")


def test_drivers_are_closed_when_one_cannot_be_reset() -> None:
    good, bad = Fragile(), Fragile()
    bad.reset_error = OSError("no power")
    with pytest.raises(OSError, match="no power") as caught, serve(Lamp(children={"good": good, "bad": bad})):
        pass
    assert caught.value.__notes__ == ["while resetting bad"]
    assert good.events == ["reset", "close"]


def test_a_child_that_appears_at_reset_is_part_of_the_tree() -> None:
    class Growing(Lamp):
        def reset(self) -> None:
            self.children["late"] = Lamp()

    with serve(Growing()) as client:
        client.children["late"].call("on")


# the client's side


def test_a_client_class_that_is_not_a_drivers_is_not_imported() -> None:
    with pytest.raises(MissingDriverError, match=r"not allowed.*JMP_DRIVERS_ALLOW='os\.\*'"):
        import_class("os.system")
    with pytest.raises(MissingDriverError, match="pip install jumpstarter-driver-warp"):
        import_class("jumpstarter_driver_warp.client.WarpClient")
    with pytest.raises(MissingDriverError, match="not in the installed jumpstarter"):
        import_class("jumpstarter.client.NothingClient", unsafe=True)
    with pytest.raises(MissingDriverError, match="not the dotted path"):
        import_class("nothing")


def test_not_installed_not_allowed_and_failed_to_import_are_three_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab_broken.py").write_text("raise OSError('no display')")
    (tmp_path / "lab_needy.py").write_text("import a_library_that_is_not_here")
    (tmp_path / "lab_leaving.py").write_text("raise SystemExit(3)")
    (tmp_path / "lab_odd.py").write_text("raise AttributeError('x')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    messages = {
        "lab_elsewhere.Client": "is not installed here: install the distribution that has lab_elsewhere",
        "lab_broken.Client": "is not allowed: no installed distribution registers lab_broken as a driver; "
        "allow it with JMP_DRIVERS_ALLOW='lab_broken.*'",
    }
    for path, message in messages.items():
        with pytest.raises(MissingDriverError) as caught:
            import_class(path)
        assert caught.value.message == f"client {path} {message}"
    failures = {
        "lab_broken.Client": "failed to import: OSError: no display; python -c 'import lab_broken' shows where",
        "lab_needy.Client": "failed to import: ModuleNotFoundError: .*; install what has a_library_that_is_not_here",
        "lab_leaving.Client": "failed to import: SystemExit: 3",
        "lab_odd.Client": "failed to import: AttributeError: x",
        "jumpstarter.client.nothing.Client": "is not in the installed jumpstarter: update it",
    }
    for path, message in failures.items():
        with pytest.raises(MissingDriverError, match=message):
            import_class(path, ["lab_*"])


def test_a_driver_whose_client_cannot_be_used_has_a_generic_one() -> None:
    with serve(Lamp(children={"odd": Strange()})) as client:
        odd = client.children["odd"]
        assert isinstance(odd, GenericClient)
        assert odd.on() == odd.call("on") == 1
        assert isinstance(odd, StubDriverClient)  # by which others tell
        assert "client" in odd.reason


def test_a_driver_of_which_nothing_is_known_can_be_called_by_name() -> None:
    """As exporters of the public release report it."""
    with ExitStack() as stack:
        plain = report(1)
        plain.labels["jumpstarter.dev/client"] = "os.system"
        stub = build_tree([plain], None, LazyPortal(), stack, Policy(unsafe=True))
        assert isinstance(stub, StubDriverClient)
        assert not hasattr(stub, "cli")
        with pytest.raises(AttributeError, match=r"root\.light: os\.system is not a client class"):
            stub.light()


def report(uuid: int, parent: int | None = None, name: str = "") -> pb.DriverInstanceReport:
    labels = {"jumpstarter.dev/client": "jumpstarter.client.DriverClient", "jumpstarter.dev/name": name}
    identity = f"00000000-0000-0000-0000-{uuid:012}"
    return pb.DriverInstanceReport(
        uuid=identity,
        parent_uuid=None if parent is None else f"00000000-0000-0000-0000-{parent:012}",
        labels=labels,
    )


@pytest.mark.parametrize(
    "reports",
    [
        [],
        [report(1), report(2)],
        [report(1, parent=9)],
        [report(1), report(2, parent=3, name="a")],
        [report(1), report(2, parent=1)],
        [report(1), *(report(i + 1, parent=i, name="x") for i in range(1, 3000))],
        [report(1), report(2, parent=1, name="a"), report(3, parent=1, name="a")],
        [pb.DriverInstanceReport(uuid="x")],
    ],
)
def test_a_report_that_is_no_tree_is_refused(reports: list[pb.DriverInstanceReport]) -> None:
    with ExitStack() as stack, pytest.raises(InvalidReport):
        build_tree(reports, None, LazyPortal(), stack, Policy(unsafe=True))


def test_an_instance_that_is_there_twice_has_its_children_where_it_came_last() -> None:
    reports = [report(1), report(2, parent=1, name="a"), report(3, parent=2, name="x")]
    reports += [report(2, parent=1, name="b"), report(3, parent=2, name="x")]
    with ExitStack() as stack:
        root = build_tree(reports, None, LazyPortal(), stack, Policy(unsafe=True))
    assert root.children["a"].children["x"].uuid == root.children["b"].children["x"].uuid
    assert root.children["b"].children["x"].path == "b.x"


def test_an_exporter_that_is_not_there_is_named(tmp_path: Path) -> None:
    named = pytest.raises(ExporterUnreachableError, match=f"no exporter answers at {tmp_path}/none")
    with named, connect(Endpoint(f"{tmp_path}/none"), Policy()):
        pass


@pytest.mark.parametrize(
    ("address", "is_tcp"),
    [
        ("localhost:1234", True),
        ("[::1]:1234", True),
        ("10.0.0.1:65536", False),
        ("/run/user/1000/x:1234", False),
        ("board.sock", False),
    ],
)
def test_an_address_is_tcp_or_a_path(address: str, is_tcp: bool) -> None:
    assert Endpoint(address).is_tcp is is_tcp


def test_the_environment_names_the_session(host: tuple[Session, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUMPSTARTER_HOST", raising=False)
    with pytest.raises(EnvironmentVariableNotSetError, match="jmp shell"), env():
        pass
    monkeypatch.setenv("JUMPSTARTER_HOST", str(host[1]))
    monkeypatch.setenv("JMP_DRIVERS_ALLOW", "jumpstarter.*")
    with env() as client:
        assert type(client) is DriverClient
        client.call("on")


def test_no_event_loop_runs_for_a_blocking_call(host: tuple[Session, Path]) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom jumpstarter.utils.env import env\n"
        "with env() as client:\n    client.call('on')\n"
        "import jumpstarter.streams.portal as p\nassert p._shared is None\nassert 'anyio' not in sys.modules\n"
    )
    environ = {"JUMPSTARTER_HOST": str(host[1]), "JMP_DRIVERS_ALLOW": "UNSAFE"}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
