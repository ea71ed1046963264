"""An exporter and a client that meet at a controller, and what they do when something goes wrong there."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from base64 import b64decode
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.errors import DriverError
from jumpstarter.client.exceptions import LeaseError
from jumpstarter.client.tree import Policy
from jumpstarter.common.backoff import Backoff
from jumpstarter.common.exceptions import LimitError
from jumpstarter.common.limits import CALLER_STREAMS, CONTROLLER_RETRY, REFUSALS
from leasebench import wait_for

if TYPE_CHECKING:
    from fakecontroller import FakeController
    from leasebench import LeaseBench

OUTAGE = float(os.environ.get("JMP_TEST_OUTAGE", "5"))
"""Seconds for which the controller is away; 600 at night."""

pytestmark = pytest.mark.timeout(120 + OUTAGE)

HOOKS = """\
hooks:
  beforeLease:
    script: {before}
  afterLease:
    script: {after}
"""


def test_a_lease_from_its_beginning_to_its_end(bench: LeaseBench, controller: FakeController):
    with bench.exporter(board="x") as exporter:
        assert controller.state.exporters["board1"].labels["jumpstarter.dev/name"] == "board1"
        assert len(controller.state.exporters["board1"].devices) == 2
        with bench.leased() as (lease, board):
            assert lease.exporter_name == "board1"
            assert lease.exporter_labels["board"] == "x"
            board.call("on")
            assert list(zip(range(3), board.streamingcall("count"), strict=False)) == [(0, 0), (1, 1), (2, 2)]
            with board.stream("connect") as stream:
                stream.send(b"hello")
                assert stream.receive() == b"hello"
        wait_for(exporter.is_off)
        controller.wait_status("board1", "AVAILABLE")
        assert controller.statuses("board1") == ["AVAILABLE", "LEASE_READY", "AVAILABLE"]
        assert controller.count("DeleteLease") == 1
        assert exporter.exporter.stop() == 0
        assert controller.statuses("board1")[-1] == "OFFLINE"
        assert controller.count("Unregister") == 1


def test_an_exporter_that_stops_before_it_hears_of_leases_says_so(bench: LeaseBench, controller: FakeController):
    controller.hang("Status")
    with bench.started() as exporter:
        told = controller.wait_until(lambda: controller.statuses("board1"), 60, "a status was told")
        assert told == ["AVAILABLE"]
        assert exporter.exporter.stop() == 0
    assert controller.statuses("board1") == ["AVAILABLE", "OFFLINE"]
    assert controller.count("Unregister") == 1


def test_what_calls_carry(bench: LeaseBench, controller: FakeController):
    with bench.exporter():
        assert controller.count("Register", "board1") == 1
        register = next(call for call in controller.calls if call.method == "Register")
        assert [report.labels.get("jumpstarter.dev/name") for report in register.request.reports] == [None, "board"]


def test_hooks_run_around_a_lease_for_its_client(bench: LeaseBench, controller: FakeController):
    told = bench.lab.directory / "told"
    tell = f"'echo $LEASE_NAME $CLIENT_NAME >> {told}; j --help > /dev/null'"
    with bench.exporter(beside=HOOKS.format(before=tell, after=tell)):
        done = bench.lab.run(
            "jmp", "shell", "--client-config", bench.client_file(), "-n", "board1", "--", "sh", "-c", "echo $JMP_LEASE"
        )
        assert done.returncode == 0, done.stderr
        lease = done.stdout.strip()
        controller.wait_status("board1", "AVAILABLE")
        assert told.read_text().splitlines() == [f"{lease} alice"] * 2
        expected = ["AVAILABLE", "BEFORE_LEASE_HOOK", "LEASE_READY", "AFTER_LEASE_HOOK", "AVAILABLE"]
        assert controller.statuses("board1")[:5] == expected


def test_a_hook_that_fails_ends_the_lease_and_its_client_is_told(bench: LeaseBench, controller: FakeController):
    hooks = "hooks:\n  beforeLease:\n    script: echo no board; exit 3\n    onFailure: endLease\n"
    with bench.exporter(beside=hooks):
        done = bench.lab.run("jmp", "shell", "--client-config", bench.client_file(), "-n", "board1", "--", "true")
        assert done.returncode == 70, done.stderr
        assert "beforeLease hook failed: exit status 3; its last words: no board" in done.stderr
        controller.wait_status("board1", "AVAILABLE")
        assert "BEFORE_LEASE_HOOK_FAILED" in controller.statuses("board1")
        assert all(lease.ended for lease in controller.state.leases.values())


# the controller is away


def test_a_running_stream_survives_a_controller_that_is_away(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter, bench.leased() as (_, board):
        board.call("on")
        with board.stream("connect") as stream:

            def echo(data: bytes) -> None:
                stream.send(data)
                received = b""
                while len(received) < len(data):
                    received += stream.receive()
                assert received == data

            echo(b"before")
            registered = controller.count("Register")
            controller.stop()
            end = time.monotonic() + OUTAGE
            rounds = 0
            while time.monotonic() < end:
                echo(f"round {rounds} ".encode() * 1000)
                rounds += 1
                time.sleep(0.05)
            assert board.call("look") > 0
            controller.start()
            back = time.monotonic()
            controller.wait_until(lambda: controller.count("Register") > registered, 15, "registered anew")
            controller.wait_status("board1", "LEASE_READY", 15)
            assert time.monotonic() - back < 15
            echo(b"after")
        with board.stream("connect") as stream:  # the lease is as usable as before
            stream.send(b"again")
            assert stream.receive() == b"again"
        assert "off" not in exporter.events()


def test_after_an_outage_the_exporter_is_available_again(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter:
        lease = controller.lease("board1", "alice")
        controller.wait_status("board1", "LEASE_READY")
        controller.stop()
        exporter.wait_line("is away")
        lease.end("Expired")  # which the exporter learns later
        time.sleep(1)
        controller.start()
        controller.wait_status("board1", "AVAILABLE", 15)
        wait_for(exporter.is_off, 5)
        exporter.wait_line("answers again")
        with bench.leased() as (_, board):
            board.call("on")
        assert sum("is away" in line for line in exporter.lines) == 1  # an outage is told once


@pytest.mark.slow
def test_an_exporter_waits_15_s_for_its_controller(bench: LeaseBench, controller: FakeController):
    with bench.exporter():
        controller.stop()
        time.sleep(15)
        controller.start()
        controller.wait_status("board1", "AVAILABLE", 15)
        with bench.leased() as (_, board):
            board.call("on")


def test_an_exporter_starts_although_its_controller_is_away(bench: LeaseBench, controller: FakeController):
    controller.stop()
    with bench.started() as exporter:
        exporter.wait_line("is away: connection refused")
        controller.start()
        controller.wait_status("board1", "AVAILABLE", 15)


def test_ten_minutes_without_a_controller_are_no_flood_and_no_long_wait():
    backoff, now, attempts = Backoff(*CONTROLLER_RETRY), 0.0, 0
    gaps: list[float] = []
    while now < 600:
        gaps.append(backoff.after(0.01))
        now += gaps[-1]
        attempts += 1
    assert 60 <= attempts <= 120
    assert max(gaps) <= 15  # the bound of a recovery
    assert len(set(gaps[:4])) == 4  # by chance


def test_a_status_stream_that_ends_at_once_is_no_flood(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter:
        controller.faults["Status.end"] = lambda context: None
        with controller.state.changed:
            controller.state.changed.notify_all()
        before, cpu = controller.count("Status"), exporter.cpu()
        seconds = 6
        time.sleep(seconds)
        assert 1 <= controller.count("Status") - before <= seconds
        assert exporter.cpu() - cpu < 0.01 * seconds
        controller.heal()
        controller.lease("board1", "alice")
        controller.wait_status("board1", "LEASE_READY", 15)


def test_a_controller_that_freezes_is_noticed_and_its_lease_goes_on(bench: LeaseBench, controller: FakeController):
    controller.hang("Register")
    with bench.started() as exporter:
        exporter.wait_line("is away: no answer in time", 15)
        controller.heal()
        controller.wait_status("board1", "AVAILABLE", 15)


def test_statuses_that_could_not_be_told_are_told_later(bench: LeaseBench, controller: FakeController):
    with bench.exporter():
        controller.fail("ReportStatus", grpc.StatusCode.UNAVAILABLE)
        controller.lease("board1", "alice", name="one")
        controller.wait_until(lambda: controller.count("Listen") > 0, what="the lease is served all the same")
        controller.heal()
        controller.wait_status("board1", "LEASE_READY", 15)


# tokens


def test_a_bad_token_ends_the_exporter_with_what_to_do(bench: LeaseBench, controller: FakeController):
    exporter = controller.add_exporter("board1")
    good, exporter.token = exporter.token, "stale"
    path, _ = bench.exporter_file("board1")
    exporter.token = good
    done = bench.lab.run("jmp", "run", "--exporter-config", path)
    assert done.returncode == 77
    last = done.stderr.splitlines()[-1]
    assert "does not accept the token of exporter board1: token is invalid or has expired" in last
    assert f"put a valid one into {path}" in last
    assert "stale" not in done.stderr
    assert controller.count("Register") == 0


def test_a_client_token_is_no_exporter_token(bench: LeaseBench, controller: FakeController):
    controller.add_exporter("board1").token = controller.state.clients["alice"]
    path, _ = bench.exporter_file("board1")
    controller.state.exporters.clear()
    done = bench.lab.run("jmp", "run", "--exporter-config", path)
    assert done.returncode == 77


def test_a_revoked_token_ends_the_exporter_in_a_safe_state_without_a_flood(
    bench: LeaseBench, controller: FakeController
):
    with bench.exporter() as exporter:
        with bench.leased() as (lease, board):
            board.call("on")
            lease.release = False
        controller.state.exporters["board1"].token = "another"
        controller.stop()
        controller.start()
        status = wait_for(lambda: exporter.exporter.process.poll() is not None, 40) and exporter.exporter.wait()
        assert status == 77
        assert exporter.is_off()
        assert any("does not accept the token" in line for line in exporter.lines)
    attempts = controller.refused
    assert 1 < len(attempts) <= REFUSALS
    assert all(later - earlier > CONTROLLER_RETRY[0] / 2 for earlier, later in pairwise(attempts))


def test_a_token_that_is_refused_for_a_moment_ends_nothing(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter:
        token = controller.state.exporters["board1"].token
        controller.state.exporters["board1"].token = "another"
        controller.stop()
        controller.start()
        exporter.wait_line("refuses this exporter", 15)
        controller.state.exporters["board1"].token = token
        exporter.wait_line("answers again", 15)
        controller.wait_status("board1", "AVAILABLE", 15)


# the router


def test_a_router_that_dies_is_told_and_dialled_again(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter, bench.leased() as (_, board):
        with board.stream("connect") as stream:
            stream.send(b"x")
            assert stream.receive() == b"x"
            controller.router.stop()
            dead = time.monotonic()
            with pytest.raises(Exception, match=r"ended|broken|closed|gone|lost"):
                stream.receive()
            assert time.monotonic() - dead < 5
        exporter.wait_event("connect ended by CancelledError")
        controller.router.start()

        def works() -> bool:
            try:
                return board.call("look") > 0
            except DriverError:
                return False

        wait_for(works, 15)
        assert controller.count("Dial") >= 2


def test_the_byte_streams_of_each_connection_are_counted_apart(bench: LeaseBench):
    with bench.exporter(), bench.leased() as (lease, board), lease.serve_unix() as path, ExitStack() as stack:
        full = stack.enter_context(connect(Endpoint(str(path)), Policy(unsafe=True))).children["board"]
        for _ in range(CALLER_STREAMS):
            stack.enter_context(full.stream("connect"))
        with pytest.raises(LimitError, match="limit CALLER_STREAMS"), full.stream("connect"):
            pass
        assert full.call("look") == CALLER_STREAMS
        with board.stream("connect") as stream:
            stream.send(b"x")
            assert stream.receive() == b"x"


def test_a_client_that_may_be_elsewhere_gets_no_traceback(bench: LeaseBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JMP_DEBUG", "1")
    with bench.exporter(), bench.leased() as (_, board):
        with pytest.raises(DriverError) as failed:
            board.call("wait", -1)
        assert (failed.value.reason, failed.value.remote_traceback) == ("sleep length must be non-negative", "")


def test_tokens_of_the_router_open_nothing_twice(bench: LeaseBench, controller: FakeController):
    credentials = grpc.ssl_channel_credentials(b64decode(controller.ca))
    with bench.exporter() as exporter, bench.leased() as (_, board):
        with board.stream("connect") as stream:
            stream.send(b"x")
            assert stream.receive() == b"x"
            with grpc.secure_channel(controller.router.endpoint, credentials) as opened:
                channel: Any = opened
                call = channel.stream_stream("/jumpstarter.v1.RouterService/Stream")
                for bad in (
                    "",
                    "a.b.c",
                    controller.token("exporter", "board1"),
                    controller.router.token(valid=-1),
                    controller.router.token()[:-2] + "xx",
                ):
                    with pytest.raises(grpc.RpcError) as refused:
                        next(call(iter(()), metadata=[("authorization", f"Bearer {bad}")], timeout=10))
                    assert code_of(refused.value) is grpc.StatusCode.UNAUTHENTICATED
                replayed = controller.router.seen[-1]
                waiting = call(iter([b"\x0a\x01x"]), metadata=[("authorization", f"Bearer {replayed}")], timeout=1)
                with pytest.raises(grpc.RpcError) as alone:
                    next(waiting)
                assert code_of(alone.value) is grpc.StatusCode.DEADLINE_EXCEEDED
            stream.send(b"y")
            assert stream.receive() == b"y"
        assert exporter.events().count("connect began") == 1


def code_of(error: Any) -> grpc.StatusCode:
    return error.code()


# ends of leases


@pytest.mark.alone
def test_a_call_of_the_last_holder_is_over_before_the_next_lease_begins(bench: LeaseBench, controller: FakeController):
    controller.add_client("bob")
    with bench.exporter() as exporter:
        first = controller.lease("board1", "alice", name="first")
        with bench.leased(lease="first") as (_, board):
            failure: list[BaseException] = []

            def call() -> None:
                try:
                    board.call("wait_async", 60)
                except BaseException as e:  # noqa: BLE001 looked at below
                    failure.append(e)

            thread = threading.Thread(target=call)
            thread.start()
            exporter.wait_event("wait_async began")
            with controller.state.changed:
                controller.end_lease("first")
                controller.lease("board1", "bob", name="second")
            ended = time.monotonic()
            exporter.wait_event("wait_async ended by CancelledError", 5)
            assert time.monotonic() - ended < 1
            with bench.leased(lease="second", client="bob") as (_, other):
                other.call("on")
            thread.join(10)
            assert time.monotonic() - ended < 15
        assert first.ended
        assert isinstance(failure[0], DriverError)
        assert "ended" in str(failure[0]) or "gone" in str(failure[0])
        events = exporter.events()
        assert events.index("wait_async ended by CancelledError") < events.index("off") < events.index("on")


def test_a_lease_that_ends_in_a_hook_ends_the_hook(bench: LeaseBench, controller: FakeController):
    hooks = HOOKS.format(before="sleep 60", after="'true'")
    with bench.exporter(beside=hooks) as exporter:
        controller.lease("board1", "alice", name="short")
        controller.wait_status("board1", "BEFORE_LEASE_HOOK")
        controller.end_lease("short")
        controller.wait_status("board1", "AVAILABLE", 15)
        wait_for(exporter.is_off)
        assert controller.statuses("board1")[-2:] == ["AFTER_LEASE_HOOK", "AVAILABLE"]


@pytest.mark.alone
def test_a_lease_that_ends_under_a_stream_ends_the_stream(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter:
        controller.lease("board1", "alice", name="one")
        with bench.leased(lease="one") as (_, board):
            board.call("on")
            with board.stream("connect") as stream:
                stream.send(b"x")
                assert stream.receive() == b"x"
                ended = time.monotonic()
                controller.end_lease("one")
                exporter.wait_event("connect ended by CancelledError", 5)
                assert time.monotonic() - ended < 1
                with pytest.raises(Exception, match=r"ended|broken|closed|gone|lost"):
                    stream.receive()
        wait_for(exporter.is_off, 5)
        events = exporter.events()
        assert events.index("connect ended by CancelledError") < events.index("off")
        controller.wait_status("board1", "AVAILABLE")


def test_an_exporter_for_one_lease_ends_with_it(bench: LeaseBench, controller: FakeController):
    with bench.exporter(beside="exitOnLeaseEnd: true\n") as exporter:
        with bench.leased() as (_, board):
            board.call("on")
        assert exporter.exporter.wait() == 0
        assert exporter.is_off()


def test_nobody_gets_in_once_the_lease_has_ended(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter:
        controller.lease("board1", "alice", name="one")
        with bench.leased(lease="one") as (lease, board):
            board.call("on")
            controller.end_lease("one")
            wait_for(exporter.is_off, 5)
            with pytest.raises(DriverError):
                board.call("on")
            assert lease.name == "one"
        assert exporter.events()[-1] == "off"
        with pytest.raises(LeaseError, match="has ended"), bench.leased(lease="one"):
            pass


@pytest.mark.alone
def test_a_client_that_is_killed_leaves_no_stream_and_the_lease_ends_in_a_safe_state(
    bench: LeaseBench, controller: FakeController
):
    with bench.exporter() as exporter:
        controller.lease("board1", "alice", name="one", duration=3600)
        code = (
            "from jumpstarter.common.utils import env\n"
            "with env() as client:\n"
            "    board = client.children['board']\n"
            "    board.call('on')\n"
            "    for i in board.streamingcall('count'): pass\n"
        )
        command = ("jmp", "shell", "--client-config", bench.client_file(), "--lease", "one", "--", sys.executable)
        with bench.process(*command, "-c", code) as process:
            exporter.wait_event("count began", 15)
            killed = time.monotonic()
            process.kill()
            exporter.wait_event("count ended", 5)
            assert time.monotonic() - killed < 1
        controller.end_lease("one", "Expired")
        wait_for(exporter.is_off, 5)
        controller.wait_status("board1", "AVAILABLE")


def test_a_hangup_stops_the_exporter_after_its_lease(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter, bench.leased() as (lease, board):
        board.call("on")
        os.kill(exporter.pid, signal.SIGHUP)
        exporter.wait_line("stops after this lease")
        time.sleep(0.5)
        board.call("on")
        controller.end_lease(str(lease.name))
        assert exporter.exporter.wait() == 0
        assert exporter.is_off()
        assert controller.statuses("board1")[-1] == "OFFLINE"


def test_a_hangup_without_a_lease_stops_the_exporter(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter:
        assert exporter.exporter.stop(signal.SIGHUP) == 0


def test_a_lease_is_shortened_and_extended_while_it_is_used(bench: LeaseBench, controller: FakeController):
    client = bench.client_file()
    with bench.exporter() as exporter:
        controller.lease("board1", "alice", name="one", duration=4)
        with bench.leased(lease="one") as (_, board):
            longer = bench.lab.run("jmp", "update", "lease", "one", "--duration", "1h", "--client-config", client)
            assert longer.returncode == 0, longer.stderr
            board.call("on")
            time.sleep(5)
            board.call("on")
            assert not exporter.is_off()
            shorter = bench.lab.run("jmp", "update", "lease", "one", "--duration", "1s", "--client-config", client)
            assert shorter.returncode == 0, shorter.stderr
            wait_for(exporter.is_off, 5)


def test_a_shell_ends_when_its_lease_does(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter:
        controller.lease("board1", "alice", name="one")
        command = ("jmp", "shell", "--client-config", bench.client_file(), "--lease", "one", "--", "sleep", "60")
        with bench.process(*command) as process:
            controller.wait_until(lambda: controller.count("Dial") > 0)
            time.sleep(0.5)
            controller.end_lease("one", "Expired")
            said, _ = process.communicate(timeout=20)
            assert process.returncode == 69, said
            assert "lease one has ended" in said
        wait_for(exporter.is_off)


@pytest.mark.parametrize("ends", [True, False], ids=["the lease has ended", "it has not"])
def test_a_command_that_ends_well_after_its_lease_has_not_worked(
    bench: LeaseBench, controller: FakeController, ends: bool
):
    started, go = bench.lab.directory / "started", bench.lab.directory / "go"
    with bench.exporter():
        controller.lease("board1", "alice", name="one")
        script = f"trap '' HUP; touch {started}; until [ -e {go} ]; do sleep 0.01; done"
        command = ("jmp", "shell", "--client-config", bench.client_file(), "--lease", "one", "--", "sh", "-c", script)
        with bench.process(*command) as process:
            wait_for(started.exists, 20)
            if ends:
                controller.end_lease("one", "Expired")
            go.touch()  # long before the client looks after its lease again
            said, _ = process.communicate(timeout=20)
        assert process.returncode == (69 if ends else 0), said
        assert said.count("lease one has ended") == ends, said


def test_a_lease_is_given_back_when_its_shell_is_interrupted(bench: LeaseBench, controller: FakeController):
    controller.add_exporter("board2").is_registered = True  # which never comes
    command = ("jmp", "shell", "--client-config", bench.client_file(), "-n", "board2", "--", "true")
    with bench.process(*command) as process:
        controller.wait_until(lambda: controller.count("GetLease") > 0)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=15)
        assert process.returncode == 130
    assert controller.count("DeleteLease") == 1
    assert all(lease.ended for lease in controller.state.leases.values())


def test_two_exporters_of_one_name_on_a_host_are_one_too_many(bench: LeaseBench, controller: FakeController):
    with bench.exporter() as exporter:
        path, _ = bench.exporter_file("board1")
        done = bench.lab.run("jmp", "run", "--exporter-config", path)
        assert done.returncode == 75
        assert "is running already" in done.stderr
        local = bench.lab.run("jmp", "shell", "--name", "board1", "--", "true")
        assert local.returncode == 75
        assert "given away by the controller" in local.stderr
        status = bench.lab.run("jmp", "status", "--name", "board1")
        assert status.returncode == 0, status.stderr
        assert "AVAILABLE" in status.stdout.upper()
        assert exporter.exporter.process.poll() is None
