"""Peers that send too much, or read or say nothing, take little memory and keep nobody waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import http2
import pytest
from google.protobuf.struct_pb2 import Value
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from processes import MIB, Memory, assert_served, wait_for
from raw import raw

if TYPE_CHECKING:
    from conftest import StartBench
    from processes import Bench

pytestmark = pytest.mark.alone  # who is served while the exporter has much to do

FLOOD_SECONDS = 1.0

LIMITS = {http2.continuations: 192 * MIB, http2.garbage: 384 * MIB}
"""What gRPC takes for a gigabyte per second that it reads and drops; it does not keep what it read."""


@pytest.mark.parametrize("flood", http2.FLOODS)
def test_a_flood_of_frames_harms_nobody(start: StartBench, flood: Callable[[], Iterator[bytes]]):
    def pour() -> None:
        with suppress(OSError), http2.opened(bench.address) as sock:  # answers are never read
            for data in flood():
                sock.sendall(data)
                if time.monotonic() > deadline:
                    return

    with start("tcp") as bench, bench.connected() as bystander:
        assert_served(bystander)
        memory = Memory(bench.pid)
        deadline = time.monotonic() + FLOOD_SECONDS
        pouring = threading.Thread(target=pour)
        pouring.start()
        while pouring.is_alive():
            assert_served(bystander)
            time.sleep(0.05)
        pouring.join()
        assert_served(bystander)
        assert memory.growth < LIMITS.get(flood, 32 * MIB), memory.growth


def test_a_slow_reader_holds_up_its_own_call_only(bench: Bench):
    with raw(bench) as slow, bench.connected() as bystander:
        memory = Memory(bench.pid)
        arguments = [Value(number_value=100_000), Value(number_value=10_000)]
        request = pb.StreamingDriverCallRequest(uuid=slow.probe, method="count", args=arguments)
        call = slow.streamed("StreamingDriverCall", request.SerializeToString())
        time.sleep(1.5)
        assert_served(bystander, "bad")  # another driver; this one's worker may be waiting
        assert memory.growth < 64 * MIB
        call.cancel()
        ended = wait_for(lambda: [event for event in bench.events() if "ended after" in event], 1, bench.events)
        assert int(ended[0].split()[-1]) < 20_000
