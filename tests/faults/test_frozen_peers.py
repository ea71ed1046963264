"""A peer that is frozen, cut off or silent is noticed in half a minute at both ends, and harms nobody meanwhile."""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import http2
import pytest
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.tree import Policy
from jumpstarter.common.exceptions import ExporterUnreachableError
from peers import dial
from processes import MIB, Bench, Census, Memory, assert_served, wait_for
from proxy import proxying

if TYPE_CHECKING:
    import subprocess

    from conftest import StartBench
    from jumpstarter.client import DriverClient
    from processes import Client

    from tests.conftest import Lab

NOTICED = 30.0
"""Seconds until a peer that says nothing is taken for gone."""

TRANSPORTS = ("unix", "tcp", "tls")

ENDINGS = ("connect ended", "flood gave")

SPARE_THREADS = 4
"""Threads that a process which talks gRPC takes and gives back as it likes."""


def noted(bench: Bench, *begins: str) -> list[str]:
    """The events that begin so."""
    return [event for event in bench.events() if event.startswith(begins)]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_clients_that_freeze_or_vanish_are_let_go(start: StartBench):
    with ExitStack() as stack:
        benches = [stack.enter_context(start(transport)) for transport in TRANSPORTS]
        observers = [stack.enter_context(bench.connected()) for bench in benches]
        assert not _unserved(observers)
        before = [bench.census(observer) for bench, observer in zip(benches, observers, strict=True)]
        proxies = [stack.enter_context(proxying(bench.address)) for bench in benches[1:]]
        vanishing = [
            stack.enter_context(bench.role("streams", "1", address=proxy.address))
            for bench, proxy in zip(benches[1:], proxies, strict=True)
        ]
        idle = [stack.enter_context(bench.role("streams", "1")) for bench in benches]
        frozen = [stack.enter_context(bench.role(role)) for bench in benches for role in ("streams", "drain")]
        assert all(client.line() == "busy" for client in [*vanishing, *idle, *frozen])
        assert [noted(bench, *ENDINGS) for bench in benches] == [[], [], []]
        memories = [Memory(bench.pid) for bench in benches]
        for client in frozen:
            client.process.send_signal(signal.SIGSTOP)
        for proxy in proxies:
            proxy.freeze()
        start_of_silence = time.monotonic()
        # of each exporter: 20 streams of one client that froze, over TCP another one's that vanished; 1 more is idle
        wait_for(
            lambda: [len(noted(bench, "connect ended")) for bench in benches] == [20, 21, 21] or _unserved(observers),
            NOTICED,
            lambda: [Counter(noted(bench, *ENDINGS)) for bench in benches],
        )
        assert time.monotonic() - start_of_silence > 5
        assert [memory.growth < 64 * MIB for memory in memories] == [True] * 3, [m.growth for m in memories]
        # gRPC may not notice that somebody froze who had so much to read that its ping was not even sent
        for client in frozen:
            client.process.kill()
        wait_for(lambda: all(noted(bench, "flood") for bench in benches) or _unserved(observers), 30)
        assert all(client.process.poll() is None for client in idle)
        for bench, observer, old in zip(benches, observers, before, strict=True):
            _assert_left(bench, observer, old)
        for client in idle:  # they said nothing all the time, and are still served
            client.process.kill()
        wait_for(lambda: [len(noted(bench, *ENDINGS)) for bench in benches] == [22, 23, 23], 2)


def _unserved(observers: list[DriverClient]) -> bool:
    """Whether somebody is not served; never true, it raises instead."""
    for observer in observers:
        assert_served(observer)
    time.sleep(0.2)
    return False


def _assert_left(bench: Bench, observer: DriverClient, before: Census) -> None:
    """What the clients took is back, but for the idle one's connection and stream."""
    allowed = replace(
        before, descriptors=before.descriptors + 3, tasks=before.tasks + 8, threads=before.threads + SPARE_THREADS
    )
    wait_for(lambda: not bench.census(observer).exceeds(allowed), 30, lambda: (before, bench.census(observer)))


@pytest.mark.slow
@pytest.mark.parametrize("secured", [False, True], ids=["tcp", "tls"])
def test_connections_that_say_nothing_or_little_are_dropped(start: StartBench, secured: bool):
    def drip(sock: socket.socket, greeting: bytes) -> None:
        """Send a byte now and then, until the other side has enough."""
        sock.settimeout(0.5)
        for byte in greeting:
            with suppress(TimeoutError):
                sock.sendall(bytes([byte]))
                if not sock.recv(1000):
                    return

    def until_dropped(sock: socket.socket, *greeting: bytes) -> float:
        with suppress(ConnectionError):
            for part in greeting:
                drip(sock, part)
            sock.settimeout(60)
            while sock.recv(1000):  # the server's own greeting
                pass
        return time.monotonic() - opened

    with start("tls" if secured else "tcp") as bench, bench.connected() as bystander, ExitStack() as stack:
        port = int(bench.address.rpartition(":")[2])
        assert_served(bystander)
        before = bench.census(bystander)
        opened = time.monotonic()
        silent = [stack.enter_context(dial(port)) for _ in range(100)]
        slow = [stack.enter_context(dial(port)) for _ in range(8)]
        greeting = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" if secured else http2.PREFACE
        with ThreadPoolExecutor(len(slow)) as pool:
            dropping = [pool.submit(until_dropped, sock, greeting[:-1]) for sock in slow]
            while not all(dropped.done() for dropped in dropping):
                assert_served(bystander)
                time.sleep(0.1)
            for seconds in [*(dropped.result() for dropped in dropping), *map(until_dropped, silent)]:
                assert 5 < seconds < 15
        allowed = replace(before, threads=before.threads + SPARE_THREADS)
        wait_for(lambda: not bench.census(bystander).exceeds(allowed), 30, lambda: (before, bench.census(bystander)))
        assert_served(bystander)


def assert_told(client: Client, timeout: float) -> None:
    """The command ends in time, with one line and the status for an exporter that is not there."""
    assert client.process.wait(timeout) == 69, client.errors
    assert client.errors.startswith("j: error: "), client.errors
    assert client.errors.count("\n") == 1, client.errors


@pytest.mark.slow
def test_an_exporter_that_freezes_is_noticed(start: StartBench):
    with ExitStack() as stack:
        benches = [stack.enter_context(start(transport)) for transport in TRANSPORTS]
        commands = [stack.enter_context(bench.client("j", "power", "cycle", "--wait", "120")) for bench in benches]
        roles = ("sleep", "sleep_async", "streams")
        clients = [stack.enter_context(bench.role(role)) for bench in benches for role in roles]
        assert all(client.line() == "busy" for client in clients)
        time.sleep(1)
        assert all(client.process.poll() is None for client in [*commands, *clients])
        try:
            for bench in benches:
                bench.process.send_signal(signal.SIGSTOP)
            end = time.monotonic() + NOTICED
            for command in commands:
                assert_told(command, end - time.monotonic())
            for client in clients:
                told = client.line(max(end - time.monotonic(), 0.1))
                assert "ConnectionError" in told or "BrokenResourceError" in told, (told, client.errors)
        finally:
            for bench in benches:
                bench.process.send_signal(signal.SIGCONT)
        for bench in benches:  # back again, it serves as ever
            with bench.connected() as client:
                assert_served(client, "bad")  # the other one's plain method still sleeps


@pytest.mark.slow
def test_a_port_where_nobody_answers_is_told(lab: Lab, start: StartBench):
    def commands(address: str) -> list[subprocess.Popen[str]]:
        return [
            lab.start("j", "power", "on", JUMPSTARTER_HOST=address, JMP_GRPC_INSECURE="1"),
            lab.start("jmp", "shell", "--tls-grpc", address, "--tls-grpc-insecure", "--", "true"),
        ]

    for transport in TRANSPORTS:  # where somebody answers
        with start(transport) as bench, bench.connected() as client:
            assert_served(client)
            for command in commands(bench.address) if transport == "tcp" else ():
                assert (command.communicate(timeout=60)[1], command.returncode) == ("", 0)
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        path = lab.directory / "mute.sock"
        unix.bind(str(path))
        unix.listen()
        address = f"127.0.0.1:{tcp.getsockname()[1]}"
        endpoints = [Endpoint(address, insecure=True), Endpoint(address), Endpoint(str(path))]
        unanswered = commands(address)
        with ThreadPoolExecutor() as pool:
            for seconds in pool.map(_seconds_to_fail, endpoints):
                assert 5 < seconds < 15
        for command in unanswered:
            _, errors = command.communicate(timeout=60)
            assert command.returncode == 69, errors
            assert errors.count("\n") == 1, errors
            assert f"no exporter answers at {address}" in errors, errors


def _seconds_to_fail(endpoint: Endpoint) -> float:
    """How long it takes to learn that there is no exporter."""
    started = time.monotonic()
    with pytest.raises(ExporterUnreachableError, match=endpoint.address), connect(endpoint, Policy()):
        pass
    return time.monotonic() - started
