"""Clients and exporters that are killed, stopped and frozen in a lease: what the other end sees through the router."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from jumpstarter.client.errors import DriverError, ExporterLost
from jumpstarter_testing.processes import children
from leasebench import Registered, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator

    from fakecontroller import FakeController
    from leasebench import LeaseBench

NOTICED = 30.0
"""Seconds until a peer that says nothing is taken for gone."""

HEAD = """\
from contextlib import ExitStack
from jumpstarter.common.utils import env
with env() as client, ExitStack() as stack:
    board = client.children["board"]
    board.call("on")
"""

# what a client is in, and how the board notes its begin and its end
ROLES = {
    "a call": ("board.call('wait_async', 60)", "wait_async began", "wait_async ended by CancelledError", 1),
    "a streamed call": ("list(board.streamingcall('count'))", "count began", "count ended", 1),
    "20 byte streams": (
        "[stack.enter_context(board.stream()) for _ in range(20)][0].receive()",
        "connect began",
        "connect ended by CancelledError",
        20,
    ),
}


@contextmanager
def in_lease(bench: LeaseBench, exporter: Registered, role: str) -> Generator[subprocess.Popen[str]]:
    """A `jmp shell` with a lease of its own, and a command in it that is busy."""
    code, began, _, number = ROLES[role]
    known = len(exporter.events())
    command = ("jmp", "shell", "--client-config", bench.client_file(), "-n", exporter.name, "--", sys.executable)
    with bench.process(*command, "-c", f"{HEAD}    {code}\n") as process:
        wait_for(lambda: exporter.events()[known:].count(began) == number, 30, lambda: exporter.lines)
        yield process


def end_leases(controller: FakeController, exporter: Registered) -> None:
    """End what a client left that cannot do so any more; the exporter is safe and free soon."""
    for name, lease in list(controller.state.leases.items()):
        if lease.is_active and lease.exporter is controller.state.exporters[exporter.name]:
            controller.end_lease(name, "Expired")
    wait_for(exporter.is_off, 5)
    controller.wait_status(exporter.name, "AVAILABLE")


@pytest.mark.alone  # what has to be seen within a second
def test_what_a_client_was_in_that_is_killed_in_its_lease_ends(bench: LeaseBench, controller: FakeController):
    def kill_in(role: str) -> None:
        known = len(exporter.events())
        with in_lease(bench, exporter, role) as client:
            _, _, ended, number = ROLES[role]
            assert not any(" ended" in event for event in exporter.events()[known:])  # without the fault it goes on
            client.kill()
            wait_for(lambda: exporter.events()[known:].count(ended) == number, 1, lambda: exporter.events()[known:])
        end_leases(controller, exporter)

    with bench.exporter() as exporter:
        for role in ROLES:
            kill_in(role)


@pytest.mark.slow
def test_who_freezes_in_a_lease_is_noticed_and_costs_nobody_else_anything(
    bench: LeaseBench, controller: FakeController
):
    with (
        bench.exporter("board1") as frozen,
        bench.exporter("board2") as exporter,
        in_lease(bench, frozen, "a call") as client,
        in_lease(bench, exporter, "a streamed call") as stopped,
        ThreadPoolExecutor(1) as pool,
    ):
        output = client.stdout
        assert output is not None
        time.sleep(1)
        assert (client.poll(), stopped.poll()) == (None, None)
        for process in (frozen.exporter.process, stopped):
            process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        try:
            end_leases(controller, exporter)
            with bench.leased("board2") as (_, board):  # whoever comes next is served
                assert board.call("look") > 0
            told = pool.submit(lambda: next(line for line in output if "the exporter is gone" in line))
            told.result(NOTICED - (time.monotonic() - started))
        finally:
            frozen.exporter.process.send_signal(signal.SIGCONT)
        end_leases(controller, frozen)
        with bench.leased("board1") as (_, board):
            assert board.call("look") > 0


def test_an_exporter_that_is_killed_in_a_lease_is_back_and_safe(bench: LeaseBench, controller: FakeController):
    with bench.exporter(options=("--supervise",)) as exporter:
        (first,) = children(exporter.pid)
        with bench.leased() as (lease, board):
            board.call("on")
            assert not exporter.is_off()
            with ThreadPoolExecutor(1) as pool:
                call = pool.submit(board.call, "wait_async", 60)
                exporter.wait_event("wait_async began")
                killed = time.monotonic()
                os.kill(first, signal.SIGKILL)
                with pytest.raises(ExporterLost):
                    call.result(5)
            wait_for(lambda: exporter.events()[-1] == "off", 10 - (time.monotonic() - killed), exporter.events)

            def is_served() -> bool:
                """By a connection that is made anew, and nothing else."""
                try:
                    with lease.connect() as again:
                        again.children["board"].call("on")
                except (DriverError, ConnectionError):
                    return False
                return True

            wait_for(is_served, 15)
            assert children(exporter.pid) != [first]
        wait_for(lambda: exporter.events()[-1] == "off")
        controller.wait_status("board1", "AVAILABLE")
        (second,) = children(exporter.pid)
        with bench.leased() as (_, board):
            board.call("on")
            for pid in (exporter.pid, second):  # all of them
                os.kill(pid, signal.SIGKILL)
    with bench.exporter() as exporter:
        assert [event for event in exporter.events() if event in ("on", "off")][-1] == "off"
        with bench.leased() as (_, board):
            assert board.call("look") > 0
        assert exporter.exporter.stop() == 0


def test_exporters_that_are_told_to_stop_in_a_call_of_a_lease_close_their_drivers(bench: LeaseBench):
    with ExitStack() as stack:
        exporters, calls = list[Registered](), list[Future[object]]()
        pool = stack.enter_context(ThreadPoolExecutor())
        for i, method in enumerate(("wait", "stubborn", "wait_async")):
            exporter = stack.enter_context(bench.exporter(f"board{i}"))
            _, board = stack.enter_context(bench.leased(exporter.name))
            board.call("on")
            calls.append(pool.submit(board.call, method, 60))
            exporter.wait_event(f"{method} began")
            exporters.append(exporter)
        assert not any(call.done() for call in calls)
        for exporter in exporters:
            exporter.exporter.process.terminate()
        told_at = time.monotonic()
        for exporter, call in zip(exporters, calls, strict=True):
            assert exporter.exporter.process.wait(10 - (time.monotonic() - told_at)) == 0, exporter.lines
            with pytest.raises(DriverError):
                call.result(5)
            events = [event for event in exporter.events() if event in ("on", "off", "close")]
            assert events == ["on", "off", "close"]
