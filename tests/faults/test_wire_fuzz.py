"""Requests of random bytes get a status that blames them, and hold up nobody else."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from raw import Raw, raw

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient
    from processes import Bench

ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}

MOST = 0.1
"""Seconds that the slowest hundredth of somebody else's calls may take meanwhile."""

TYPED = [
    "",
    "null",
    "{}",
    "[",
    "[" * 100_000,
    '{"args": 1}',
    '{"args": [], "kwargs": 1}',
    '{"args": [1], "kwargs": {"value": 1}}',
    '{"args": [], "kwargs": {"nothing": 1}}',
    '{"args": [], "kwargs": {"": 1}}',
    '{"args": [], "kwargs": {"__class__": 1}}',
    '{"args": [{"$": "bytes", "v": "not base64!"}]}',
    '{"args": [{"$": "bytes"}]}',
    '{"args": [{"$": "no such", "v": 1}]}',
    '{"args": [{"$": [1], "v": 1}]}',
    '{"args": [{"$": "uuid", "v": {}}]}',
    '{"args": [{"$": "decimal", "v": "1e999999999"}]}',
    '{"args": [{"$": "timedelta", "v": 1e300}]}',
    '{"args": [{"$": "datetime", "v": "0000-00-00"}]}',
    '{"args": [{"$": "set", "v": [[1]]}]}',
    '{"args": [{"$": "dict", "v": [[[], 1]]}]}',
    '{"args": [{"$": "dict", "v": [1]}]}',
    '{"args": [{"$": "enum", "c": "os.system", "v": "true"}]}',
    '{"args": [{"$": "object", "c": "subprocess.Popen", "v": {"args": "true"}}]}',
    '{"args": [{"$": "float", "v": "nan"}]}',
    '{"args": [%s]}' % ("9" * 5000),
    '{"args": ["\\ud800"]}',
    '{"args": [1], "args": [2]}',
    '{"args": ' + "[" * 60 + "]" * 60 + "}",
    '{"args": [' + "[]," * 200_000 + "[]]}",
]
"""Typed arguments that are none, or that no method here takes."""


@pytest.mark.alone
def test_typed_arguments_that_make_no_sense_are_invalid_arguments(bench: Bench):
    with raw(bench) as wire:
        good = pb.DriverCallRequest(
            uuid=wire.probe, method="number", typed_arguments='{"args": [7], "kwargs": {}}', typed=True
        )
        assert wire.status("DriverCall", good.SerializeToString())[0] is grpc.StatusCode.OK
        for text in TYPED:
            for method, kind in (("number", "DriverCall"), ("numbers", "StreamingDriverCall")):
                good.typed_arguments, good.method = text, method
                started = time.monotonic()
                code, said = wire.status(kind, good.SerializeToString())
                assert code is grpc.StatusCode.INVALID_ARGUMENT or text == '{"args": [1], "args": [2]}', (
                    text[:80],
                    said,
                )
                assert time.monotonic() - started < 1, text[:80]


class Watch:
    """Calls of somebody else, and how long they took."""

    def __init__(self, client: DriverClient) -> None:
        self.times: list[float] = []
        self._client = client.children["bad"]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            started = time.perf_counter()
            self._client.call("coroutine", "")
            self.times.append(time.perf_counter() - started)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def slowest_hundredth(self) -> float:
        return sorted(self.times)[int(len(self.times) * 0.99)]


def random_value(chance: random.Random, depth: int = 0) -> Any:
    """JSON of any shape, often with tags."""
    kinds = ["bytes", "uuid", "path", "datetime", "timedelta", "decimal", "tuple", "set", "dict", "enum", "object", "x"]
    match chance.randrange(9 if depth < 4 else 6):
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.randrange(-(1 << 70), 1 << 70)
        case 3:
            return chance.choice([0.0, -1e308, 1e-300])
        case 4 | 5:
            return "".join(chance.choices("a\x00\n{\u202e$é\U0001f600", k=chance.randrange(8)))
        case 6:
            return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case 7:
            return {chance.choice("abc$v"): random_value(chance, depth + 1) for _ in range(chance.randrange(4))}
        case _:
            return {"$": chance.choice(kinds), "v": random_value(chance, depth + 1), "c": "os.system"}


def random_request(chance: random.Random, wire: Raw) -> bytes:
    """A request with something wrong in one of its fields, or in its bytes."""
    request = pb.DriverCallRequest(uuid=wire.probe, method=chance.choice(["echo", "number", "nothing"]))
    if chance.random() < 0.7:
        fields: dict[str, Any] = {"args": [random_value(chance)], "kwargs": {}, "more": 1}
        request.typed_arguments = json.dumps({key: fields[key] for key in fields if chance.random() < 0.8})
        request.typed = chance.random() < 0.5
    if chance.random() < 0.3:
        request.args.append(Value(number_value=chance.choice([0, 1e300, float("nan"), float("inf"), -0.5])))
    data = bytearray(request.SerializeToString())
    for _ in range(chance.choice([0, 0, 1, 3])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.1:
        data += b"\xc2\x3e" + bytes([chance.randrange(128)])  # the tag of another additional field
    return bytes(data)


@pytest.mark.slow
@pytest.mark.alone
def test_random_requests_are_never_an_internal_error_and_hold_up_nobody(bench: Bench):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    with raw(bench) as wire, bench.connected() as client:
        with Watch(client) as idle:
            time.sleep(1)
        assert idle.slowest_hundredth < MOST
        with Watch(client) as busy:
            for _ in range(1500):
                data = random_request(chance, wire)
                for kind in ("DriverCall", "StreamingDriverCall"):
                    code, said = wire.status(kind, data)
                    assert code in ALLOWED, (seed, data, said)
        assert busy.slowest_hundredth < MOST, seed
        assert len(busy.times) > 100
        assert bench.process.poll() is None
