"""Frames and requests of random bytes, many of them, never crash an exporter, and leave nothing behind.

JMP_FUZZ is how many of both together; the nightly run takes more.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from jumpstarter.streams import frames
from jumpstarter.streams.frames import Frame
from processes import wait_for
from raw import Raw, raw

if TYPE_CHECKING:
    from conftest import StartBench

MANY = int(os.environ.get("JMP_FUZZ", "100000"))
CALLS = ("GetReport", "GetStatus", "Reset", "DriverCall", "StreamingDriverCall", "NoSuchCall")
KINDS = (frames.DATA, frames.DATA, frames.PING, frames.RST_STREAM, frames.GOAWAY, 1, 2, 99, 1 << 31)

ENCODINGS: list[Any] = [None, "gzip", "none", 7, [1]]
JUNK: list[Any] = [None, 1, [], {}, True, [[]], {"a": "b"}]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def random_frame(chance: random.Random) -> bytes:
    """A frame of any kind, often damaged."""
    payload = chance.randbytes(chance.choice([0, 1, 7, 100, 5000]))
    data = bytearray(Frame(payload, chance.choice(KINDS)).serialize())
    if data and chance.random() < 0.3:
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data) if chance.random() < 0.9 else chance.randbytes(chance.randrange(40))


def random_request(chance: random.Random, wire: Raw) -> tuple[tuple[str, str], ...]:
    """What a stream is asked for, mostly something that is there."""
    kind = chance.choice(["driver"] * 6 + ["resource"] * 2 + ["session", "x"])
    fields: dict[str, Any] = {
        "kind": kind,
        "uuid": chance.choice([wire.probe] * 6 + ["", "x", "00000000-0000-0000-0000-000000000000"]),
        "method": chance.choice(["connect"] * 5 + ["echo", "on", "__init__", "", "x" * 5000]),
        "x_jmp_content_encoding": chance.choice(ENCODINGS),
        chance.choice("abc"): chance.choice(JUNK),
    }
    for name in list(fields):
        if chance.random() < 0.05:
            fields[name] = chance.choice(JUNK)
        if chance.random() < 0.05:
            del fields[name]
    text = json.dumps(fields)
    if chance.random() < 0.1:
        text = text[: chance.randrange(len(text))]
    return (("request", text),) if chance.random() < 0.97 else ()


def one_stream(chance: random.Random, wire: Raw, size: int) -> None:
    metadata = random_request(chance, wire)
    waits = not any('"driver"' in text for _, text in metadata)  # for a call that uses it, or for its end

    def sent() -> Iterator[bytes]:
        for _ in range(size):
            yield random_frame(chance)
        if waits:
            made.wait(10)
            call.cancel()

    made = threading.Event()
    call = wire.stream(sent(), *metadata)
    made.set()
    try:
        for _ in call:
            pass
    except grpc.RpcError as e:
        error: Any = e
        assert not re.search("[Ss]ocket closed|Connection refused|failed to connect", error.details()), error.details()


def test_random_frames_and_requests_leave_the_exporter_as_it_was(start: StartBench) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    with start("tcp") as bench, raw(bench) as wire, bench.connected() as client:
        assert wire.status("Reset", b"")[0] is grpc.StatusCode.OK  # for which it keeps a worker
        client.children["board"].call("off")  # for which that has one of its own
        done, before = 0, bench.census(client)
        while done < MANY:
            size = chance.choice([0, 1, 20, 400])
            one_stream(chance, wire, size)
            for _ in range(3):
                wire.status(chance.choice(CALLS), chance.randbytes(chance.randrange(60)))
            done += size + 4
            assert bench.process.poll() is None, seed
        client.children["bad"].call("coroutine", "")
        after = bench.census(client)
        wait_for(lambda: not bench.census(client).exceeds(before), 30, lambda: (seed, before, after))
        assert bench.process.poll() is None, seed
