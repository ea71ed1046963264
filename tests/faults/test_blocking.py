"""A driver that blocks, in whatever form, costs the others nothing.

It blocks for 30 s with JMP_TEST_NIGHTLY in the environment, for 3 s without.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from anyio import EndOfStream
from jumpstarter.client.core import DriverError
from processes import CONFIG, HERE, LONG, Bench, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jumpstarter.client import DriverClient

    from tests.conftest import Lab

pytestmark = pytest.mark.alone  # milliseconds count

MOST = 0.005
"""Seconds by which the slowest hundredth of the calls to another driver may change."""


def call(method: str) -> Callable[[DriverClient], object]:
    return lambda blocker: blocker.call(method)


def items(method: str) -> Callable[[DriverClient], object]:
    return lambda blocker: list(blocker.streamingcall(method))


def stream(method: str) -> Callable[[DriverClient], object]:
    def use(blocker: DriverClient) -> None:
        with blocker.stream(method) as opened, suppress(EndOfStream):
            if method == "slow_to_read":
                opened.receive()

    return use


FORMS: dict[str, Callable[[DriverClient], object]] = {
    "a plain method": call("plain"),
    "a coroutine that waits": call("waiting"),
    "a plain generator": items("generator"),
    "an asynchronous generator that waits": items("generator_async"),
    "the opening of a stream": stream("slow_to_open"),
    "the reading of a stream": stream("slow_to_read"),
    "the closing of a stream": stream("slow_to_close"),
}


def slowest_hundredth(other: DriverClient, seconds: float) -> float:
    """Of the times of calls, one after the other."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        other.call("echo", 1)
        times.append(time.perf_counter() - start)
    return percentile(times, 99)


def percentile(times: Sequence[float], percent: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * percent / 100))]


@pytest.mark.parametrize("form", FORMS)
def test_another_driver_is_as_fast_as_ever_while_one_blocks_in(bench: Bench, form: str):
    with bench.connected() as client, ThreadPoolExecutor(1) as pool:
        probe, blocker = client.children["probe"], client.children["long_blocker"]
        slowest_hundredth(probe, 0.3)
        idle = slowest_hundredth(probe, LONG / 2)
        blocking = pool.submit(FORMS[form], blocker)
        time.sleep(0.2)
        busy = slowest_hundredth(probe, LONG / 2)
        # a client does not wait that long for the end of a stream
        still = blocker.call("is_closing") if form == "the closing of a stream" else not blocking.done()
        assert still, "it did not block"
        blocking.result(60)
    assert busy - idle < MOST, (busy, idle)


LATE = """\
  late:
    type: faultdrivers.Late
    config:
      device: {device}
"""


def test_another_driver_is_as_fast_as_ever_while_a_device_that_came_back_is_made(lab: Lab):
    lab.environment |= {"PYTHONPATH": str(HERE), "TMPDIR": str(lab.directory)}
    device, record = lab.directory / "device", lab.directory / "record"
    config = lab.write("late", CONFIG.format(port=9, record=record) + LATE.format(device=device))
    with lab.exporter(config=config) as exporter, Bench(lab, exporter, record).connected() as client:
        probe = client.children["probe"]
        slowest_hundredth(probe, 0.3)
        idle = slowest_hundredth(probe, 1.5)
        device.touch()
        with pytest.raises(DriverError, match="absent"):
            client.children["late"].call("anything")
        wait_for(device.with_name("blocks").exists, 60)
        busy = slowest_hundredth(probe, 1.5)
        with pytest.raises(DriverError, match="absent"):
            client.children["late"].call("anything")  # it is still being made
        device.unlink()
        assert busy - idle < MOST


def test_a_coroutine_that_blocks_the_event_loop_is_named(bench: Bench):
    with bench.connected() as client:
        client.children["blocker"].call("blocking")
    log = bench.exporter.lines
    told = re.compile(r"event loop was blocked for [23]\.\d s")  # of 3 s, from when the watchdog looked
    wait_for(lambda: any(map(told.search, log)), 30, lambda: log)
    assert any("Blocker.blocking of driver blocker blocks the event loop" in line for line in log)
