"""One owner of an exporter at a time: with real exporters and clients, which wait, leave, die and fall silent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Connection, Endpoint
from jumpstarter.client.errors import SessionEnded
from jumpstarter.client.holding import holding
from jumpstarter.client.status import StatusChange
from jumpstarter.client.tree import Policy
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.common.exceptions import BusyError, SessionEndedError
from jumpstarter.streams.portal import LazyPortal
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from processes import HERE, wait_for
from proxy import proxying

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient

    from tests.conftest import Exporter, Lab

SOON = 1.0

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: {{name}}
export:
  board:
    type: drivers_of_sessions.Board
    config:
      record: {record}
"""

TCP = ("--tls-grpc-listener", "0", "--tls-grpc-insecure")


class Site:
    """An exporter with a board, and its clients."""

    def __init__(self, lab: Lab, exporter: Exporter, record: Path) -> None:
        self.lab, self.exporter, self.record = lab, exporter, record
        self.address = exporter.address

    @property
    def where(self) -> tuple[str, ...]:
        """The options of `jmp shell`."""
        if self.address.startswith("/"):
            return ("--socket", self.address)
        return ("--tls-grpc", self.address, "--tls-grpc-insecure")

    @property
    def environment(self) -> dict[str, str]:
        """That of a client without a session."""
        return {"JUMPSTARTER_HOST": self.address, "JMP_GRPC_INSECURE": "1"}

    def endpoint(self, address: str | None = None, session: str | None = None) -> Endpoint:
        return Endpoint(address or self.address, insecure=True, session=session)

    def events(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []

    def shell(self, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """`jmp shell` to its end."""
        return self.lab.run("jmp", "shell", *self.where, *options, "--", *command)

    @contextmanager
    def holder(self, *command: str, options: tuple[str, ...] = ()) -> Generator[subprocess.Popen[str]]:
        """A `jmp shell` that has the session, and ends when its input does."""
        command = command or ("sh", "-c", "echo held; read line; exit 3")
        process = subprocess.Popen(
            [
                self.lab.environment["PATH"].split(os.pathsep)[0] + "/jmp",
                "shell",
                *self.where,
                *options,
                "--",
                *command,
            ],
            env=self.lab.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=60)

    @contextmanager
    def client(self, session: str | None = None, **options: Any) -> Generator[DriverClient]:
        """A client in this process."""
        with connect(self.endpoint(session=session), Policy(unsafe=True), **options) as client:
            yield client.children["board"]


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


Start = Callable[..., AbstractContextManager[Site]]


@pytest.fixture
def start(lab: Lab) -> Start:
    """Start an exporter: `start("tcp", hooks, "--observers")`."""
    lab.environment |= {"PYTHONPATH": str(HERE), "JMP_DRIVERS_ALLOW": "UNSAFE", "JMP_LOCK_DIR": str(lab.directory)}

    @contextmanager
    def started(transport: str = "unix", more: str = "", *options: str) -> Generator[Site]:
        record = lab.directory / "record"
        config = lab.write("sessions", CONFIG.format(record=record) + more)
        with lab.exporter(*options, *(TCP if transport == "tcp" else ()), config=config) as exporter:
            yield Site(lab, exporter, record)

    return started


@pytest.fixture(params=["unix", "tcp"])
def site(start: Start, request: pytest.FixtureRequest) -> Generator[Site]:
    """An exporter, by either transport."""
    with start(request.param) as site:
        yield site


# one at a time


@pytest.mark.alone
def test_a_second_client_is_told_who_has_it_since_when(site: Site):
    with site.holder() as holder:
        assert line(holder) == "held"
        for command in (["jmp", "shell", *site.where, "--", "true"], ["python", "-c", CALL]):
            done = site.lab.run(*command, **site.environment)
            assert done.returncode == 75, done
            assert f"(process {holder.pid}) since " in done.stderr
            assert " for sh; " in done.stderr
            assert "jmp shell --wait" in done.stderr
            assert done.stderr.count("\n") == 1
        status = site.lab.run("jmp", "status", *site.where)
        assert f"(process {holder.pid})" in status.stdout
        assert site.lab.run("j", **site.environment).returncode == 0  # looking is free
    wait_for(lambda: site.events() == ["off"], SOON)


CALL = """\
import sys
from jumpstarter.cli import errors
from jumpstarter.utils.env import env
def call():
    with env() as client:
        client.children["board"].call("on")
sys.exit(errors.run("test", call))
"""


def test_the_children_of_the_holder_use_the_devices_and_nobody_else(site: Site):
    done = site.shell("python", "-c", CALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert site.events() == ["on", "off"]


def test_a_shell_in_a_shell_is_of_the_same_session(site: Site):
    done = site.shell("jmp", "shell", *site.where, "--", "python", "-c", CALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert site.events() == ["on", "off"]


def test_the_status_of_the_command_is_that_of_the_shell(site: Site):
    with site.holder() as holder:
        assert line(holder) == "held"
        holder.communicate("\n", timeout=60)
        assert holder.returncode == 3
    assert site.events() == ["off"]  # before the shell ended


def test_calls_without_a_session_share_one_until_they_want_another(site: Site):
    for _ in range(3):
        assert site.lab.run("python", "-c", CALL, **site.environment).returncode == 0
    with site.client() as one, site.client() as two, one.stream() as stream:
        two.call("on")
        stream.send(b"hello")
        assert stream.receive() == b"hello"
        one.call("on")
        with pytest.raises(BusyError), holding(site.endpoint()):
            pass  # a stream is open
    time.sleep(0.1)
    assert "off" not in site.events()
    assert site.shell("true").returncode == 0
    assert site.events()[-2:] == ["off", "off"]  # the end of the first, and of the shell's


@pytest.mark.alone
def test_who_does_not_hold_it_cannot_end_it(site: Site):
    with site.client() as stranger, holding(site.endpoint()) as held:
        assert stranger.end_session() is False
        with site.client("made up") as other:
            assert other.end_session() is False
        with site.client(held.endpoint.session) as holder:
            holder.call("on")
            assert holder.end_session() is True
            assert site.events() == ["on", "off"]  # it is taken back when the answer comes
            assert holder.end_session() is True
            with pytest.raises(SessionEndedError, match="its client ended it"):
                holder.call("on")
        wait_for(lambda: held.error, SOON)
        stranger.call("on")
        assert stranger.end_session() is False  # as ever without a lease; it has ended all the same
        wait_for(lambda: site.events() == ["on", "off", "on", "off"], SOON)


def test_a_session_can_be_held_from_python(site: Site):
    with site.client(hold="a test") as board:
        board.call("on")
        with pytest.raises(BusyError, match=f"process {os.getpid()}.* for a test"), site.client(hold="another"):
            pass
        with pytest.raises(BusyError, match=r"not free within 0\.6 s"), site.client(hold="another", wait=0.6):
            pass
        wait_for(lambda: "for a test" in refusal(site), 30)  # who gave up is in the queue no more
    assert site.events() == ["on", "off"]


def refusal(site: Site) -> str:
    """Who a further client is told to wait for: the first in the queue, else the holder."""
    with pytest.raises(BusyError) as refused, site.client(hold="another"):
        pass
    return str(refused.value)


def test_observers_may_read_where_the_exporter_lets_them(start: Start):
    with start("unix", "", "--observers") as site, site.client() as observer:
        assert observer.call("look") == 0
        with site.client(hold="a test") as board:
            board.call("on")
            assert observer.call("look") == 1
            with pytest.raises(BusyError):
                observer.call("on")


def test_who_merely_reads_is_refused_without_observers(site: Site):
    with site.client(hold="a test"), site.client() as observer, pytest.raises(BusyError):
        observer.call("look")


# waiting


def test_who_waits_gets_a_turn_in_order(site: Site):
    order: list[str] = []
    with ExitStack() as stack:
        first = stack.enter_context(site.holder())
        assert line(first) == "held"
        waiting: list[subprocess.Popen[str]] = []
        for name in ("one", "two", "three"):
            shell = stack.enter_context(site.holder("echo", name, options=("--wait", "15")))
            assert shell.stderr is not None
            assert f"(process {first.pid}) since" in shell.stderr.readline()  # what it waits for
            waiting.append(shell)
        first.kill()
        for shell in waiting:
            order.append(line(shell))
            assert shell.wait(60) == 0
    assert order == ["one", "two", "three"]


def test_waiting_has_an_end(site: Site):
    with site.holder() as holder:
        assert line(holder) == "held"
        started = time.monotonic()
        done = site.shell("true", options=("--wait", "0.7"))
        assert 0.7 < time.monotonic() - started < 5
    assert done.returncode == 75
    assert "not free within 0.7 s: held by " in done.stderr.splitlines()[-1]


def test_who_waits_in_vain_is_forgotten(site: Site):
    with site.holder() as holder:
        assert line(holder) == "held"
        with site.holder("touch", str(site.lab.directory / "ran"), options=("--wait",)) as waiting:
            assert waiting.stderr is not None
            waiting.stderr.readline()
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(60) == 130
        holder.kill()
    with site.client(hold="a test", wait=5):
        pass
    assert not (site.lab.directory / "ran").exists()


# ends


@pytest.mark.alone
@pytest.mark.parametrize("method", ["wait", "wait_async", "count"])
def test_the_end_of_a_killed_holder_is_the_end_of_its_calls(site: Site, method: str):
    script = f"""
from jumpstarter.utils.env import env
with env() as client:
    board = client.children["board"]
    print("calls", flush=True)
    list(board.streamingcall("count")) if {method!r} == "count" else board.call({method!r}, 1.5)
"""
    with site.holder("python", "-c", script) as holder:
        assert line(holder) == "calls"
        wait_for(lambda: f"{method} began" in site.events(), 30)
        holder.kill()  # its child goes on, but not with the devices
        killed = time.monotonic()
        with site.client(hold="the next one", wait=10) as next_client:
            if method != "wait":  # a plain method cannot be stopped, and nothing runs beside it
                assert time.monotonic() - killed < SOON + 0.5
            next_client.call("on")
    ending = {"wait": "wait ended", "wait_async": "wait_async ended by CancelledError", "count": "count ended"}
    assert site.events() == [f"{method} began", ending[method], "off", "on", "off"]


def test_the_command_of_a_killed_shell_ends_with_it(site: Site):
    for command in ("sleep 60", "trap '' TERM HUP; echo held; (sleep 60; true)"):
        with site.holder("sh", "-c", f"echo $$; {command}") as holder:
            pid = int(line(holder))
            wait_for(lambda pid=pid: Path(f"/proc/{pid}/task/{pid}/children").read_text(), 30)
            child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
            time.sleep(1)  # until the shell has told whom to end: nothing can do that before the command runs
            holder.kill()
            wait_for(lambda pid=pid, child=child: not is_running(pid) and not is_running(child), 30)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_byte_stream_of_an_ended_session_is_told_why(site: Site):
    with holding(site.endpoint()) as held, site.client(held.endpoint.session) as board, board.stream() as stream:
        stream.send(b"hello")
        assert stream.receive() == b"hello"
        assert board.end_session()
        with pytest.raises(Exception, match="the session has ended: its client ended it"):
            stream.receive()
    assert site.events() == ["connect began", "connect ended by CancelledError", "off"]


def test_each_of_the_calls_on_one_stream_is_told_that_its_session_has_ended(site: Site):
    def gather() -> list[BaseException | None]:
        async def wait() -> list[BaseException | None]:
            calls = [board.call_async("wait_async", 60) for _ in range(5)]
            return await asyncio.gather(*calls, return_exceptions=True)

        return board.portal.call(wait)

    with ThreadPoolExecutor() as pool, holding(site.endpoint()) as held, site.client(held.endpoint.session) as board:
        waiting = pool.submit(gather)
        wait_for(lambda: "wait_async began" in site.events(), 10)
        assert not waiting.done()
        assert board.end_session()
        failures = waiting.result(5)
        assert [type(failure) for failure in failures] == [SessionEnded] * 5
        assert all("its client ended it" in str(failure) for failure in failures)
    assert site.events() == ["wait_async began", "wait_async ended by CancelledError", "off"]  # four never began


def test_a_call_that_does_not_take_the_end_is_waited_for(site: Site):
    """No other session's call runs before it has ended."""
    with site.client() as next_client, holding(site.endpoint()) as held, site.client(held.endpoint.session) as board:
        thread = threading.Thread(target=board.call, args=("stubborn", 2))
        thread.start()
        wait_for(lambda: "stubborn began" in site.events(), 30)
        assert board.end_session()
        next_client.call("on")
        thread.join(60)
    assert site.events() == ["stubborn began", "stubborn was cancelled", "stubborn ended", "off", "on"]


def test_a_stopped_exporter_takes_its_devices_back_first(site: Site):
    with site.holder("python", "-c", CALL.replace('call("on")', 'call("wait", 60)')) as holder:
        wait_for(lambda: "wait began" in site.events(), 30)
        started = time.monotonic()
        assert site.exporter.stop() == 0
        assert time.monotonic() - started < 10
        assert holder.wait(60) == 69
        assert holder.stderr is not None
        assert "the exporter is gone: it was stopped" in holder.stderr.read()
    assert site.events() == ["wait began", "off"]


@pytest.mark.slow
def test_a_holder_who_falls_silent_loses_the_session(start: Start):
    with start("tcp") as site, proxying(site.address) as proxy, holding(site.endpoint(proxy.address)) as held:
        proxy.freeze()
        with site.client() as other:
            wait_for(lambda: next(other.status_changes()).holder is None, 30)
            assert site.events() == ["off"]
            other.call("on")
        proxy.close()
        wait_for(lambda: held.error, 30)


def test_who_comes_back_while_the_dead_connection_still_stands_is_let_in(start: Start):
    with (
        start("tcp") as site,
        proxying(site.address) as proxy,
        holding(site.endpoint(proxy.address)) as old,
        site.client(old.endpoint.session) as before,
    ):
        before.call("on")
        with pytest.raises(BusyError), holding(site.endpoint()):
            pass  # the old one is there, and says so
        proxy.freeze()
        started = time.monotonic()
        with site.client(hold="another try") as now:
            assert time.monotonic() - started < 5
            now.call("on")
            with pytest.raises(SessionEndedError, match="does not answer, and its user has come back"):
                before.call("on")
        assert site.events() == ["on", "off", "on", "off"]
        proxy.close()
        wait_for(lambda: old.error, 30)


# the status


def test_every_change_of_the_status_is_pushed(site: Site):
    seen: list[StatusChange] = []
    with site.client() as watcher:

        def watch() -> None:
            for change in watcher.status_changes():
                seen.append(change)
                if len(seen) > 2 and change.status is ExporterStatus.LEASE_READY and change.holder is None:
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        wait_for(lambda: seen, 30)
        with site.client(hold="a test") as board:
            board.call("on")
        thread.join(60)
        assert not thread.is_alive(), seen
    assert [change.version for change in seen] == list(range(seen[0].version, seen[0].version + len(seen)))
    assert [(change.status.name, change.holder is not None) for change in seen] == [
        ("LEASE_READY", False),
        ("LEASE_READY", True),
        ("AVAILABLE", True),
        ("AVAILABLE", False),
        ("LEASE_READY", False),
    ]
    assert f"(process {os.getpid()})" in str(seen[1].holder)
    assert "its client ended it" in seen[2].message


def test_a_slow_reader_of_the_status_misses_nothing(site: Site):
    with ExitStack() as stack:
        stub: Any = Connection(LazyPortal(), stack, endpoint=site.endpoint()).blocking
        first = stub.GetStatus(pb.GetStatusRequest()).status_version
        for _ in range(5):
            with holding(site.endpoint()):
                pass
        seen = [first]
        while seen[-1] < first + 20:
            seen.append(stub.GetStatus(pb.GetStatusRequest(after_version=seen[-1])).status_version)
        assert seen == list(range(first, first + 21))
        with pytest.raises(grpc.RpcError, match="Deadline"):  # nothing more happens
            stub.GetStatus(pb.GetStatusRequest(after_version=seen[-1]), timeout=0.5)
        current = stub.GetStatus(pb.GetStatusRequest(after_version=10_000_000), timeout=5)  # of another exporter
        assert current.status_version == seen[-1]


# hooks


def with_hooks(*, before: str = "true", after: str = "true", policy: str = "warn") -> str:
    """The section of a configuration."""
    return f"""\
hooks:
  beforeLease: {{{{script: {before!r}, timeout: 10, onFailure: {policy}}}}}
  afterLease: {{{{script: {after!r}, timeout: 10, onFailure: {policy}}}}}
"""


@pytest.fixture
def write(lab: Lab, start: Start) -> Callable[[str], Path]:
    """Write a configuration with hooks."""
    return lambda more: lab.write("sessions", CONFIG.format(record=lab.directory / "record") + more)


def test_hooks_use_the_devices_around_every_session(start: Start, lab: Lab):
    script = lab.directory / "hook.py"
    script.write_text(CALL.replace('call("on")', 'call("look")'))
    record = lab.directory / "record"
    before, after = f"python {script} && echo before >> {record}", f"python {script} && echo after >> {record}"
    for transport in ("unix", "tcp"):
        record.unlink(missing_ok=True)
        with start(transport, with_hooks(before=before, after=after)) as site:
            assert site.events() == ["before"]
            for _ in range(2):
                with site.client(hold="a test") as board:
                    board.call("on")
            wait_for(lambda site=site: len(site.events()) == 9, 30, site.events)
            assert site.exporter.stop() == 0
        assert site.events() == ["before", *["on", "after", "off", "before"] * 2, "off"]


def test_the_failure_of_a_hook_is_a_warning_in_the_status(start: Start, lab: Lab):
    with start("unix", with_hooks(before="exit 4")) as site, site.client() as board:
        [change, *_] = [next(board.status_changes())]
        assert change.status is ExporterStatus.LEASE_READY
        assert change.message.startswith("[HOOK_WARNING] beforeLease hook failed: exit status 4")
        board.call("on")


def test_a_hook_can_keep_the_session_back_until_it_works(lab: Lab, write: Callable[[str], Path]):
    flag = lab.directory / "flag"
    config = write(with_hooks(before=f"test -e {flag}", policy="endLease"))
    exporter = lab.start("jmp", "run", "--exporter-config", config)
    socket = lab.runtime / "sessions.sock"
    try:
        wait_for(socket.exists, 30)
        done = lab.run("jmp", "shell", "--socket", socket, "--", "true")
        assert "beforeLease hook failed: exit status 1" in done.stderr
        assert done.returncode == 70
        flag.touch()
        wait_for(lambda: lab.run("jmp", "shell", "--socket", socket, "--", "true").returncode == 0, 30)
    finally:
        exporter.kill()
        exporter.communicate()


def test_a_hook_can_end_the_exporter(lab: Lab, write: Callable[[str], Path]):
    with lab.exporter(config=write(with_hooks(after="exit 5", policy="exit"))) as exporter:
        done = lab.run("jmp", "shell", "--", "true")
        assert done.returncode == 0
        assert "afterLease hook failed: exit status 5" in done.stderr
        assert exporter.wait() == 1
        assert any("afterLease hook failed" in text for text in exporter.lines)


def test_a_hook_that_fails_before_the_session_of_a_file_is_its_end(lab: Lab, write: Callable[[str], Path]):
    for policy in ("endLease", "exit"):
        config = write(with_hooks(before="exit 6", policy=policy))
        done = lab.run("jmp", "shell", "--exporter-config", config, "--", "touch", lab.directory / "ran")
        assert done.returncode == 70
        assert "beforeLease hook failed: exit status 6" in done.stderr.splitlines()[-1]
    assert not (lab.directory / "ran").exists()
