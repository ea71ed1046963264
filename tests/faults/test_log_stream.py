"""The log: every reader sees every line or how many it lost, and none of them costs memory."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from processes import MIB, Memory, wait_for
from raw import Raw, raw

if TYPE_CHECKING:
    from conftest import StartBench
    from processes import Bench

FLOOD = 120_000


class Reader:
    """A log stream on a connection of its own, read by a thread."""

    def __init__(self, connection: Raw) -> None:
        self.lines: list[str] = []
        self._call = connection.streamed("LogStream", Empty().SerializeToString())
        self._thread = threading.Thread(target=self._read)

    def start(self) -> None:
        self._thread.start()

    def _read(self) -> None:
        try:
            for response in self._call:
                self.lines.append(pb.LogStreamResponse.FromString(response).message)
        except grpc.RpcError:
            return

    def stop(self) -> None:
        self._call.cancel()
        if self._thread.ident is not None:
            self._thread.join(60)

    def numbers(self, text: str) -> list[int]:
        """The numbers of the lines that begin so."""
        return [int(line.rpartition(" ")[2]) for line in list(self.lines) if line.startswith(f"{text} ")]

    def lost(self) -> int:
        """How many lines it was told that it lost."""
        matches = [re.match(r"(\d+) lines of log lost", line) for line in list(self.lines)]
        return sum(int(match[1]) for match in matches if match)


@contextmanager
def reader(bench: Bench, *, reads: bool = True) -> Generator[Reader]:
    """A reader meanwhile; one that does not read yet can be started."""
    with raw(bench) as connection:
        reader = Reader(connection)
        if reads:
            reader.start()
        try:
            yield reader
        finally:
            reader.stop()


def test_readers_see_every_line_and_late_ones_the_history(bench: Bench):
    with bench.connected() as client, reader(bench) as first, reader(bench) as second:
        client.children["probe"].call("say", "early", 100)
        with reader(bench) as late:
            client.children["probe"].call("say", "later", 800)
            for one in (first, second, late):
                wait_for(lambda one=one: len(one.numbers("later")) == 800, 30, lambda one=one: len(one.lines))
                assert one.numbers("early") == list(range(100))
                assert one.numbers("later") == list(range(800))
                assert one.lost() == 0


@pytest.mark.slow
def test_a_reader_that_does_not_read_costs_no_memory_and_learns_what_it_lost(start: StartBench, transport: str):
    with (
        start(transport) as bench,
        bench.connected() as client,
        reader(bench, reads=False) as slow,
        reader(bench) as fast,
    ):
        probe = client.children["probe"]
        probe.call("say", "warm", 5000)
        memory = Memory(bench.pid)
        probe.call("say", "flood", FLOOD)
        assert memory.growth < 32 * MIB, memory.growth
        wait_for(lambda: FLOOD - 1 in fast.numbers("flood")[-1:], 30)
        slow.start()
        wait_for(lambda: FLOOD - 1 in slow.numbers("flood")[-1:], 30)
        for one in (slow, fast):
            mine: list[Any] = one.numbers("warm") + one.numbers("flood")
            assert len(mine) + one.lost() == FLOOD + 5000
            assert one.numbers("flood") == sorted(set(one.numbers("flood")))
        assert slow.lost() > FLOOD / 2
