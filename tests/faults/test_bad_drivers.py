"""Whatever a driver raises or does not do, its call fails and all others are served."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from anyio import BrokenResourceError, EndOfStream
from baddrivers import FAULTS
from jumpstarter.client.core import DriverError
from processes import MIB, Memory, assert_served, wait_for

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient
    from processes import Bench

ALL = ["", *FAULTS, "group"]


def call(method: str) -> Callable[[DriverClient, str], object]:
    return lambda bad, fault: bad.call(method, fault)


def items(method: str) -> Callable[[DriverClient, str], object]:
    return lambda bad, fault: list(bad.streamingcall(method, fault))


def stream(method: str) -> Callable[[DriverClient, str], object]:
    def use(bad: DriverClient, fault: str) -> None:
        bad.call("set_fault", fault)
        with bad.stream(method) as opened, suppress(EndOfStream):
            opened.receive()

    return use


FORMS: dict[str, Callable[[DriverClient, str], object]] = {
    "a plain method": call("plain"),
    "a coroutine": call("coroutine"),
    "a plain generator": items("generator"),
    "an asynchronous generator": items("generator_async"),
    "the opening of a stream": stream("opening"),
    "the reading of a stream": stream("reading"),
}


@pytest.mark.parametrize("form", FORMS)
def test_nothing_that_is_raised_ends_the_exporter(bench: Bench, form: str):
    use = FORMS[form]
    with bench.connected() as client:
        bad = client.children["bad"]
        use(bad, "")  # without a fault
        for fault in ALL[1:]:
            if fault == "GeneratorExit" and form not in ("a plain method", "a plain generator"):
                continue  # it closes a coroutine
            with pytest.raises((DriverError, BrokenResourceError)) as caught:
                use(bad, fault)
            assert "\n" not in str(caught.value), fault
            assert_served(client)
            assert bench.process.poll() is None, fault
        use(bad, "")


@pytest.mark.parametrize("fault", [fault for fault in ALL if fault != "GeneratorExit"])
def test_what_is_raised_when_a_stream_closes_ends_nothing_else(bench: Bench, fault: str):
    with bench.connected() as client:
        with suppress(DriverError, BrokenResourceError):
            stream("closing")(client.children["bad"], fault)
        assert_served(client, "bad")
        assert_served(client)
        assert bench.process.poll() is None


def test_a_device_that_takes_nothing_holds_up_who_sends_to_it(bench: Bench):
    """And nobody else; what waits is bounded, and goes when the client does."""

    def send() -> None:
        with suppress(BrokenResourceError), client.children["bad"].stream("stuck") as stuck:
            while not stop.is_set():
                stuck.send(bytes(65536))
                sent[0] += 65536

    sent, stop = [0], threading.Event()
    with bench.connected() as other, bench.connected() as client:
        assert_served(other)
        assert_served(other, "bad")
        with suppress(BrokenResourceError), client.children["bad"].stream("closing") as once:  # what is made once
            once.send(b"x")
        before, memory = bench.census(other), Memory(bench.pid)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        wait_for(bench.events, 30)
        time.sleep(1)
        so_far = sent[0]
        assert_served(other)
        assert_served(other, "bad")
        time.sleep(0.5)
        assert sent[0] == so_far < 32 * MIB, "it is not held up"
        assert memory.growth < 32 * MIB
        assert bench.events() == ["stuck was offered 65536"]
        stop.set()
    with bench.connected() as other:
        wait_for(lambda: not bench.census(other).exceeds(before), 30, lambda: (before, bench.census(other)))


def test_a_reader_that_stops_holds_up_the_device_it_reads(bench: Bench):
    with bench.connected() as other, bench.connected() as client:
        assert_served(other)
        memory = Memory(bench.pid)
        with suppress(BrokenResourceError), client.children["bad"].stream("flood") as flood:
            assert flood.receive()
            time.sleep(1)
            assert_served(other)
            assert memory.growth < 64 * MIB
        wait_for(bench.events, 2)
        ((_, _, given),) = [event.split() for event in bench.events()]
        assert int(given) < 64 * MIB


@pytest.mark.parametrize("own", [False, True], ids=["two clients", "two threads of one"])
def test_those_who_use_a_switch_at_once_are_served_one_after_the_other(bench: Bench, own: bool):
    rounds = 10

    def cycle(client: DriverClient, who: str) -> None:
        start.wait()
        for _ in range(rounds):
            client.children["bad"].call("cycle", who)

    start = threading.Barrier(2)
    with bench.connected() as one, bench.connected() as other, ThreadPoolExecutor(2) as pool:
        clients = (one, one if own else other)
        for future in [pool.submit(cycle, client, who) for client, who in zip(clients, "ab", strict=True)]:
            future.result(60)
    steps = bench.events()
    cycles = [[steps[i + j].split() for j in range(3)] for i in range(0, len(steps), 3)]
    assert all([step for _, step in cycle] == ["off", "wait", "on"] for cycle in cycles), steps
    assert all(len({who for who, _ in cycle}) == 1 for cycle in cycles), steps
    assert Counter(cycle[0][0] for cycle in cycles) == {"a": rounds, "b": rounds}
    assert [cycle[0][0] for cycle in cycles] != ["a"] * rounds + ["b"] * rounds, "they were not at it at once"


@pytest.mark.alone
def test_who_blocks_the_event_loop_is_named_within_a_second_and_costs_only_that_time(bench: Bench):
    def named() -> bool:
        return any("Blocker.blocking of driver blocker blocks the event loop" in line for line in bench.exporter.lines)

    with bench.connected() as client, bench.connected() as other, ThreadPoolExecutor(1) as pool:
        assert_served(other)
        client.children["blocker"].call("waiting")  # as long, but it does not block
        assert not named()
        started = time.monotonic()
        blocking = pool.submit(client.children["blocker"].call, "blocking")
        wait_for(named, 1, lambda: bench.exporter.lines)
        assert not blocking.done()
        blocking.result(60)
        assert time.monotonic() - started < 4.5
        assert_served(other)
