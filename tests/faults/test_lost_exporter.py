"""What a user is told when the exporter goes away, and how it goes on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from jumpstarter.client.core import DriverError
from processes import wait_for
from proxy import proxying

if TYPE_CHECKING:
    from conftest import StartBench
    from processes import Bench, Client

UNREACHABLE = 69

CYCLE = ("j", "power", "cycle", "--wait", "120")


def assert_told(client: Client, timeout: float) -> None:
    """The command ends in time, with one line and the status for an exporter that is not there."""
    assert client.process.wait(timeout) == UNREACHABLE, client.errors
    assert client.errors.startswith("j: error: "), client.errors
    assert client.errors.count("\n") == 1, client.errors


def test_a_command_says_that_its_exporter_was_killed(bench: Bench):
    with bench.client(*CYCLE) as client:
        time.sleep(1)
        assert client.process.poll() is None
        bench.process.kill()
        assert_told(client, 5)


def test_a_forward_says_that_its_exporter_was_killed(bench: Bench):
    with bench.forward() as (client, _):
        bench.process.kill()
        assert_told(client, 5)


@pytest.mark.parametrize("role", ["sleep", "sleep_async", "pending", "count", "count_async", "upload"])
def test_a_call_says_that_its_exporter_was_killed(bench: Bench, role: str):
    with bench.role(role) as client:
        assert client.line() == "busy"
        wait_for(bench.events, 30)
        bench.process.kill()
        told = client.line(5)
        assert any(name in told for name in ("ConnectionError", "BrokenResourceError")), told


@pytest.mark.parametrize("fault", ["reset", "fin"])
def test_a_call_says_that_its_connection_was_cut(start: StartBench, fault: str):
    with start("tcp") as bench, proxying(bench.address) as proxy:
        with bench.client(*CYCLE, address=proxy.address) as client:
            time.sleep(1)
            assert client.process.poll() is None
            getattr(proxy, fault)()
            assert_told(client, 5)
        with bench.role("sleep_async", address=bench.address) as client:
            assert client.line() == "busy"  # others are served


@pytest.mark.parametrize("method", ["wait", "stubborn", "wait_async"])
def test_exporters_that_are_told_to_stop_in_a_call_close_their_drivers(start: StartBench, method: str):
    """Whether the method takes notice of it or not, the device is off by then."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        benches = [stack.enter_context(start(transport)) for transport in ("unix", "tcp", "tls")]
        boards = [stack.enter_context(bench.connected()).children["board"] for bench in benches]
        for board in boards:
            board.call("on")
        calls = [pool.submit(board.call, method, 60) for board in boards]
        for bench in benches:
            wait_for(lambda bench=bench: f"{method} began" in bench.events("board"), 30)
        assert not any(call.done() for call in calls)
        for bench in benches:
            bench.process.terminate()
        end = time.monotonic() + 10
        for bench, call in zip(benches, calls, strict=True):
            assert bench.process.wait(end - time.monotonic()) == 0, bench.exporter.lines
            with pytest.raises(DriverError, match="the exporter is gone"):
                call.result(5)
            events = [event for event in bench.events("board") if event in ("on", "off", "close")]
            assert events == ["on", "off", "close"]


def test_a_new_exporter_in_the_old_place_serves_at_once(start: StartBench, transport: str):
    with start(transport) as first:
        port = first.address.rpartition(":")[2]
        with first.client(*CYCLE) as client:
            time.sleep(1)
            first.process.kill()
            with start(transport, listener=("--tls-grpc-listener", port, "--tls-grpc-insecure")) as second:
                assert second.address == first.address
                assert_told(client, 5)
                with second.client("j", "power", "on") as again:
                    assert again.process.wait(60) == 0, again.errors
