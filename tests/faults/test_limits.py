"""Beyond a limit somebody is refused, by the limit's name; all others are served, and afterwards it is as before."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import http2
import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.limits import CALLER_STREAMS, DRIVER_QUEUE, LOCAL_STREAMS, MAX_CONNECTIONS
from peers import dial, echo, serving
from processes import MIB, Memory, assert_served, wait_for

if TYPE_CHECKING:
    from conftest import StartBench
    from jumpstarter.client import DriverClient
    from processes import Bench

BACK = 10.0
"""Seconds until everybody is served again once there are descriptors."""

MANY = 10_000
"""Streams that one client asks for."""


class Bystander:
    """Somebody else, who is served all the time; fails at the end if not.

    What counts is how much the exporter computes meanwhile, on whatever share of the machine: 2 s on two processors.
    """

    def __init__(self, client: DriverClient, pid: int) -> None:
        self._client, self._pid = client, pid
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.05):
                before = cpu_seconds(self._pid)
                assert self._client.children["probe"].call("echo", "hello") == "hello"
                assert cpu_seconds(self._pid) - before < 2
        except BaseException as e:  # noqa: BLE001 raised below
            self._failure = e

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    ("way", "connections", "allowed"),
    [
        ("tcp", 1, CALLER_STREAMS),
        ("tls", 2, 2 * CALLER_STREAMS),
        ("unix", 1, LOCAL_STREAMS),
        ("unix", 4, LOCAL_STREAMS),
    ],
)
def test_of_ten_thousand_streams_those_beyond_the_limit_are_refused(
    start: StartBench, way: str, connections: int, allowed: int
):
    with start(way) as bench, bench.connected() as client:
        assert_served(client)
        with bench.role("many_streams", "100", str(connections)) as few:
            assert json.loads(few.line()) == {"open": 100}
        wait_for(lambda: len(ends(bench)) == 100, 30)
        before, memory = bench.census(client), Memory(bench.pid)
        with Bystander(client, bench.pid):
            with bench.role("many_streams", str(MANY), str(connections)) as greedy:
                answers = json.loads(greedy.line(120))
                assert answers.pop("open") == allowed
                ((refusal, refused),) = answers.items()
                assert refusal.startswith("RESOURCE_EXHAUSTED: ")
                assert f"(limit {'LOCAL' if way == 'unix' else 'CALLER'}_STREAMS)" in refusal
                assert refused == MANY - allowed
                assert memory.growth < 64 * MIB, memory.growth  # gRPC takes 20 KiB per call
                greedy.process.kill()
            wait_for(lambda: len(ends(bench)) == 100 + allowed, 30, lambda: len(ends(bench)))
        wait_for(lambda: not bench.census(client).exceeds(before), 30, lambda: (before, bench.census(client)))


def ends(bench: Bench) -> list[str]:
    """The streams that ended."""
    return [event for event in bench.events() if event.startswith("connect ended")]


def limit_descriptors(pid: int, number: int) -> None:
    """Let a process have so many descriptors from now on."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, number))


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_without_descriptors_those_who_are_there_are_served_and_others_wait(start: StartBench, way: str):
    with (
        serving(echo) as service,
        start(way, service.port) as bench,
        bench.connected() as client,
        bench.role("streams", "3") as busy,
    ):
        assert busy.line() == "busy"
        net = client.children["net"]
        with net.stream() as stream:
            stream.send(b"there")
            assert stream.receive() == b"there"
            used = bench.census(client).descriptors
            limit_descriptors(bench.pid, used + 12)
            with ExitStack() as stack:
                for _ in range(50):
                    stack.enter_context(knock(bench))
                wait_for(lambda: bench.census(client).descriptors >= used + 11, 30)  # and the record
                spent, started = cpu_seconds(bench.pid), time.monotonic()
                while time.monotonic() - started < 3:
                    assert_served(client)
                    stream.send(b"still there")
                    assert stream.receive() == b"still there"
                    time.sleep(0.1)
                assert cpu_seconds(bench.pid) - spent < 1, "it spins"
                with pytest.raises(DriverError, match="Too many open files"), net.stream():
                    pass
                assert bench.process.poll() is None
            with bench.role("count") as late:  # the connections are gone, but the limit is still low
                assert late.line(BACK) == "busy"
        assert bench.process.poll() is None


def knock(bench: Bench) -> socket.socket:
    """A connection that says nothing."""
    if bench.is_tcp:
        return dial(int(bench.address.rpartition(":")[2]))
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(bench.address)
    return sock


@pytest.mark.alone
@pytest.mark.parametrize("form", ["wait", "wait_in_thread", "queue"])
def test_calls_that_block_keep_no_other_driver_nor_an_urgent_call(bench: Bench, form: str):
    seconds = 0.3 if form == "queue" else 1.2
    with bench.connected() as client, ThreadPoolExecutor(60) as pool:
        bad = client.children["bad"]
        bad.call("off")  # without the others
        blocked = [pool.submit(bad.call, form, seconds) for _ in range(60)]
        time.sleep(0.5)
        assert_served(client)
        started = time.monotonic()
        bad.call("off")
        assert time.monotonic() - started < 1
        assert bench.events() == ["off", "off"]
        assert_served(client)
        assert sum(call.done() for call in blocked) < 5, "they did not block"
        if form == "queue":
            bench.process.kill()  # instead of waiting for all of them
        else:
            assert [call.result() for call in blocked] == [None] * 60


def test_calls_beyond_the_queue_of_a_driver_are_refused(bench: Bench):
    number = DRIVER_QUEUE + 20
    with bench.connected() as client, ThreadPoolExecutor(number) as pool:
        bad = client.children["bad"]
        running = [pool.submit(bad.call, "queue", 3)]
        time.sleep(0.5)  # the others come after it, or some would have ended before
        running += [pool.submit(bad.call, "queue", 0) for _ in range(number - 1)]
        outcomes = Counter(str(call.exception()) for call in running)
        accepted = outcomes.pop("None")
        ((refusal, refused),) = outcomes.items()
        assert "limit DRIVER_QUEUE" in refusal
        assert (accepted, refused) == (DRIVER_QUEUE + 1, 19)
        bad.call("queue", 0)


@pytest.mark.slow
@pytest.mark.alone
def test_connections_beyond_the_limit_are_closed_and_no_others(start: StartBench):
    def is_kept(sock: socket.socket) -> bool:
        """Whether the exporter greets a connection instead of closing it."""
        sock.settimeout(60)
        sock.sendall(http2.PREFACE + http2.frame(http2.SETTINGS))
        try:
            return bool(sock.recv(1000))
        except ConnectionError:
            return False

    with start("tcp") as bench, bench.connected() as bystander:
        assert_served(bystander)
        with ExitStack() as stack:
            port = int(bench.address.rpartition(":")[2])
            kept = [is_kept(stack.enter_context(dial(port))) for _ in range(MAX_CONNECTIONS + 20)]
            assert MAX_CONNECTIONS - 10 <= sum(kept) < MAX_CONNECTIONS
            assert not any(kept[-20:])
            assert_served(bystander)

        def is_back() -> bool:
            with dial(port) as sock:
                return is_kept(sock)

        wait_for(is_back, 30)
