"""Input that no client of ours would send gets the status that says what is wrong with it, and harms nobody."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from raw import Raw, raw, request

if TYPE_CHECKING:
    from conftest import StartBench

NOT_FOUND, INVALID = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT

NOBODY = "3f0a1d9e-54e6-4d0c-9d0b-7a5f2e0c8b16"
"""A driver that is not there; the same in every process, for it names tests."""

CALLS = ["DriverCall", "StreamingDriverCall"]

PRIVATE = ["__init__", "__class__", "__dict__", "_note", "_noted", "close", "reset", "client", "children", "resources"]
INTERNAL = ["logger", "secret", "uuid", "resource", "report", "enumerate", "not_exported", "name", "", "echo.__call__"]


@pytest.fixture
def wire(start: StartBench) -> Generator[Raw]:
    """A raw channel to an exporter, which still serves in the end."""
    with start("unix") as bench, raw(bench) as channel, bench.connected() as bystander:
        yield channel
        assert bystander.children["probe"].call("echo", "still here") == "still here"
        assert bench.process.poll() is None


def call(target: str, method: str, *args: Value) -> bytes:
    """A request, of the same wire form for both kinds of call."""
    return pb.DriverCallRequest(uuid=target, method=method, args=args).SerializeToString()


def nested(depth: int) -> Value:
    """A list in a list in a list."""
    value = Value(number_value=1)
    for _ in range(depth):
        outer = Value()
        outer.list_value.values.append(value)
        value = outer
    return value


def nested_bytes(depth: int) -> bytes:
    """The wire form of a request with so deep a list, deeper than protobuf's own objects can be made."""

    def field(number: int, data: bytes) -> bytes:
        size, head = len(data), bytearray([number << 3 | 2])
        while size > 0x7F:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([*head, size]) + data

    data = b""
    for _ in range(depth):
        data = field(6, field(1, data))
    return field(3, data)


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("name", PRIVATE + INTERNAL)
def test_only_exported_methods_can_be_called(wire: Raw, kind: str, name: str):
    code, text = wire.status(kind, call(wire.probe, name))
    assert code is NOT_FOUND
    assert repr(name) in text


def test_a_method_is_called_as_it_was_exported(wire: Raw):
    assert wire.status("DriverCall", call(wire.probe, "count"))[0] is NOT_FOUND
    assert wire.status("DriverCall", call(wire.probe, "connect"))[0] is NOT_FOUND
    assert wire.status("StreamingDriverCall", call(wire.probe, "echo"))[0] is NOT_FOUND


@pytest.mark.parametrize("kind", CALLS)
def test_an_instance_is_named_by_a_known_uuid(wire: Raw, kind: str):
    assert wire.status(kind, call(NOBODY, "echo"))[0] is NOT_FOUND
    for malformed in ("", "probe", "../..", "0" * 10_000, "\0", "é"):
        code, text = wire.status(kind, call(malformed, "echo"))
        assert (code, len(text) < 3000) == (INVALID, True), malformed


@pytest.mark.parametrize("kind", CALLS)
def test_arguments_have_to_fit(wire: Raw, kind: str):
    method = "number" if kind == "DriverCall" else "count"
    one, wrong = Value(number_value=1), Value(string_value="one")
    too_many = [one] * 5
    for args in (too_many, [wrong], [Value(number_value=0.5)], [nested(3)]):
        code, text = wire.status(kind, call(wire.probe, method, *args))
        assert code is INVALID, args
        assert "expected" in text or "arguments" in text, text
        assert "\n" not in text
    assert wire.status("DriverCall", call(wire.probe, "number"))[0] is INVALID
    assert wire.status("DriverCall", call(wire.probe, "number", one))[0] is grpc.StatusCode.OK


@pytest.mark.parametrize("depth", [40, 60, 5000])
def test_a_value_that_nests_too_deeply_is_an_invalid_argument(wire: Raw, depth: int):
    head = pb.DriverCallRequest(uuid=wire.probe, method="echo").SerializeToString()
    code, _ = wire.status("DriverCall", head + nested_bytes(depth))
    assert code is (grpc.StatusCode.OK if depth == 40 else INVALID)


@pytest.mark.parametrize("kind", [*CALLS, "GetReport", "GetStatus", "Reset", "EndSession", "LogStream"])
def test_bytes_that_are_no_message_are_an_invalid_argument(wire: Raw, kind: str):
    not_text = b"\x0a\x02\xff\xfe"
    for garbage in (b"\xff", b"\x0a\xff", b"\x0b" * 1000, *([not_text] if kind in CALLS else [])):
        if kind == "LogStream":
            with pytest.raises(grpc.RpcError) as caught:
                next(wire.streamed(kind, garbage))
            error: Any = caught.value
            assert error.code() is INVALID, garbage
        else:
            assert wire.status(kind, garbage)[0] is INVALID, garbage


def test_random_bytes_are_never_an_internal_error(wire: Raw):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    good = call(wire.probe, "echo", Value(string_value="x"))
    allowed = {grpc.StatusCode.OK, INVALID, NOT_FOUND}
    for _ in range(400):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        for kind in CALLS:
            assert wire.status(kind, bytes(data))[0] in allowed, (seed, bytes(data))


def test_a_message_above_the_limit_is_refused_as_one(wire: Raw):
    code, _ = wire.status("DriverCall", call(wire.probe, "echo", Value(string_value="x" * (5 << 20))))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, INVALID),
        ("", INVALID),
        ("{", INVALID),
        ("[" * 5000, INVALID),
        ("null", INVALID),
        ("[]", INVALID),
        ("{}", INVALID),
        ('{"kind": "else"}', INVALID),
        ('{"kind": []}', INVALID),
        ('{"kind": "driver"}', INVALID),
        ('{"kind": "driver", "uuid": [1], "method": "connect"}', INVALID),
        (request(kind="driver", uuid="no", method="connect"), INVALID),
        (request(kind="driver", uuid=NOBODY, method="connect"), NOT_FOUND),
        (request(kind="driver", uuid="{probe}", method="echo"), NOT_FOUND),
        (request(kind="driver", uuid="{probe}", method="_note"), NOT_FOUND),
        (request(kind="driver", uuid="{probe}", method="__class__"), NOT_FOUND),
        (request(kind="driver", uuid="{probe}", method=None), NOT_FOUND),
        (request(kind="driver", uuid="{probe}", method={"a": 1}), NOT_FOUND),
        (request(kind="resource", uuid=NOBODY), NOT_FOUND),
    ],
)
def test_a_stream_needs_a_sound_request(wire: Raw, text: str | None, code: grpc.StatusCode):
    metadata = [("request", text.replace("{probe}", wire.probe))] if text is not None else []
    with pytest.raises(grpc.RpcError) as caught:
        list(wire.stream(iter([]), *metadata))
    error: Any = caught.value
    assert error.code() is code, error.details()


@pytest.mark.parametrize("garbage", [b"\xff", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0a\x05ab"])
def test_a_frame_that_is_none_ends_the_stream_with_an_error(wire: Raw, garbage: bytes):
    metadata = ("request", request(kind="driver", uuid=wire.probe, method="connect"))
    with pytest.raises(grpc.RpcError) as caught:
        list(wire.stream(iter([b"\x0a\x02ok", garbage]), metadata))
    error: Any = caught.value
    assert error.code() is INVALID, error.details()


def test_a_handle_that_nobody_gave_is_refused(wire: Raw):
    for fields in (
        {"kind": "client_stream", "uuid": NOBODY},
        {"kind": "client_stream", "uuid": "no"},
        {"kind": "file", "path": "/etc/passwd"},
        {},
    ):
        handle = Value()
        handle.struct_value.update(fields)
        assert wire.status("DriverCall", call(wire.probe, "upload", handle))[0] in (INVALID, NOT_FOUND)
