"""Calls with typed values: arguments by name, deadlines, classes that may be made, and peers that know none of it."""

import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.struct_pb2 import NULL_VALUE, Value
from jumpstarter.client import DriverClient
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.core import DriverError, DriverInvalidArgument
from jumpstarter.client.tree import Policy
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.common.exceptions import ArgumentError
from jumpstarter.common.typed import dumps, loads
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export
from jumpstarter.exporter import Session
from jumpstarter_protocol import jumpstarter_pb2 as pb
from pydantic import Base64Bytes, Base64UrlStr, BaseModel, Field, SecretStr, field_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

made: list[object] = []


class Colour(Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Point:
    x: int
    y: int = 0

    def __post_init__(self) -> None:
        made.append(self)
        if self.x < 0:
            raise ValueError("x must not be negative")


@dataclass
class Point3(Point):
    z: int = 0


class Reading(BaseModel):
    volts: float = Field(alias="v")

    @field_validator("volts")
    @classmethod
    def _plausible(cls, volts: float) -> float:
        if volts > 100:
            raise ValueError("more than 100 V")
        return volts


class Frame(BaseModel):
    data: Base64Bytes
    mask: Base64Bytes | None = None
    parts: list[Base64UrlStr] = []
    raw: bytes = b""


@pydantic_dataclass
class CheckedFrame:
    data: Base64Bytes


@dataclass
class PlainFrame:
    data: Base64Bytes


@dataclass(kw_only=True)
class Sample(Driver):
    """One method of each kind."""

    password: str = ""
    seen: list[Any] = field(default_factory=list[Any])

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    @export
    def same(self, value: Any) -> Any:
        return value

    @export
    def move(self, to: Point, /, speed: int = 3, *, colour: Colour = Colour.RED, **marks: int) -> list[Any]:
        return [to, speed, colour, marks]

    @export
    def kind(self, value: Any) -> str:
        return type(value).__name__

    @export
    def reading(self, value: Reading) -> Reading:
        return value

    @export
    def frames(self, *frames: Frame | CheckedFrame | PlainFrame) -> list[Any]:
        self.seen = list(frames)
        return self.seen

    @export
    def login(self, user: str, password: SecretStr, again: SecretStr | None = None) -> str:
        self.password = password.get_secret_value()
        return repr(password)

    @export
    def told(self, how: str) -> SecretStr:
        return SecretStr("hunter2")

    @export
    def as_uuid(self, text: str) -> UUID:
        return text  # pyright: ignore[reportReturnType] what drivers do

    @export
    def as_point(self, x: Any) -> Point:
        return {"x": x}  # pyright: ignore[reportReturnType]

    @export
    def as_tuple(self) -> tuple[float, bytes]:
        return [1, "text"]  # pyright: ignore[reportReturnType]

    @export
    def items(self) -> Generator[Colour]:
        yield "red"  # pyright: ignore[reportReturnType]
        yield "blue"  # pyright: ignore[reportReturnType]

    @export
    def forms(self) -> list[Any]:
        return [5, Colour.RED, (1, b"x"), Path("/a"), {2: Point(1)}, float("nan")]

    @export
    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    @export
    def tick(self, seconds: float) -> Generator[int]:
        for tick in range(1000):
            yield tick
            time.sleep(seconds)

    @export
    def timed(self, timeout: float) -> float:
        return timeout


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
def client(sample: Sample) -> Generator[DriverClient]:
    with serve(sample) as client:
        yield client


# arguments


def test_arguments_by_position_by_name_and_by_default(client: DriverClient) -> None:
    assert client.call("move", Point(1)) == [Point(1), 3, Colour.RED, {}]
    assert client.call("move", Point3(1, z=2), speed=5.0, colour="green", a=1, b=2.0) == [
        Point3(1, z=2),
        5,
        Colour.GREEN,
        {"a": 1, "b": 2},
    ]
    assert client.portal.call(lambda: client.call_async("move", {"x": 1}, 4)) == [Point(1), 4, Colour.RED, {}]


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "message"),
    [
        ("move", (), {"speed": 1}, "missing a required argument: 'to'"),
        ("move", (), {"to": 1}, "'to' parameter is positional only"),
        ("move", (1,), {}, "to: .*Point.*, got 1 "),
        ("move", ({"x": "a"},), {}, "to: key 'x': .*got 'a'"),
        ("move", (Point(1),), {"speed": "fast"}, "speed: expected int, got 'fast'"),
        ("move", (Point(1),), {"mark": "a"}, "marks: expected int, got 'a'"),
        ("move", (Point(1), 3), {"speed": 4}, "multiple values for argument 'speed'"),
        ("login", ("a",), {"pasword": "x"}, "no parameter 'pasword'; did you mean 'password'"),
        ("kind", (), {"zzz": 1}, "no parameter 'zzz'; it takes value"),
    ],
)
def test_a_wrong_argument_is_named(
    client: DriverClient, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(DriverInvalidArgument, match=message):
        client.call(method, *args, **kwargs)


def test_an_object_is_checked_by_its_class_at_the_exporter(client: DriverClient, sample: Sample) -> None:
    bad = Point(1)
    bad.x = -1
    with pytest.raises(DriverInvalidArgument, match="x must not be negative"):
        client.call("move", bad)
    bad.x = "a"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DriverInvalidArgument, match="expected int, got 'a'"):
        client.call("same", bad)
    reading = Reading(v=1)
    assert client.call("reading", reading) == reading
    reading.volts = 101
    with pytest.raises(DriverInvalidArgument, match="more than 100 V"):
        client.call("reading", reading)


def test_a_field_that_decodes_itself_is_decoded_once(client: DriverClient, sample: Sample) -> None:
    frames = [
        Frame(data=b"3q0=", mask=b"AP8=", parts=["aGk_"], raw=b"\xff"),
        Frame.model_construct(data=b"dGV4dA==", mask=None, parts=[], raw=b""),  # what could be decoded once more
        CheckedFrame(data=b"3q0="),
        PlainFrame(data=b"\xde\xad"),
    ]
    assert client.call("frames", *frames) == frames
    assert sample.seen == frames
    assert client.portal.call(lambda: client.call_async("same", frames)) == frames
    with pytest.raises(DriverInvalidArgument, match="expected Frame, CheckedFrame or PlainFrame"):
        client.call("frames", {"data": "3q0"})


def test_who_does_not_know_a_class_gets_fields_encoded_as_in_json() -> None:
    read = loads(dumps(Frame(data=b"3q0=", raw=b"\xff")))
    assert read == {"data": "3q0=", "mask": None, "parts": [], "raw": b"\xff"}


def test_the_client_makes_objects_without_running_their_code(client: DriverClient) -> None:
    sent = client.call("same", Point(1))
    assert [point for point in made if point is sent] == []


# secrets


def test_a_secret_arrives_and_is_shown_nowhere(client: DriverClient, sample: Sample) -> None:
    for secret in (SecretStr("hunter2"), "hunter2"):
        assert "hunter2" not in client.call("login", "a", secret)
        assert sample.password == "hunter2"
    assert client.call("told", "x") == SecretStr("hunter2")


@pytest.mark.parametrize("parameter", ["password", "again"])
def test_a_wrong_secret_is_not_shown(client: DriverClient, parameter: str) -> None:
    with pytest.raises(DriverInvalidArgument, match=f"{parameter}: expected SecretStr.*, got \\*\\*\\*") as caught:
        arguments: dict[str, Any] = {"password": "x", parameter: [12345678]}
        client.call("login", "a", **arguments)
    assert "12345678" not in str(caught.value) + repr(caught.value.causes)


# results


def test_a_result_becomes_what_the_annotation_says_and_stays_as_it_is_where_it_cannot(client: DriverClient) -> None:
    uuid = uuid4()
    assert client.call("as_uuid", str(uuid)) == uuid
    assert client.call("as_uuid", "none") == "none"
    assert client.call("as_point", 5) == Point(5)
    assert client.call("as_point", "a") == {"x": "a"}
    assert client.call("as_tuple") == (1.0, b"text")
    assert list(client.streamingcall("items")) == [Colour.RED, "blue"]


# deadlines


@pytest.mark.parametrize("stub", ["blocking", "async"])
def test_a_call_ends_at_its_deadline_and_says_how_long_it_waited(client: DriverClient, stub: str) -> None:
    def call(*args: Any, **kwargs: Any) -> Any:
        if stub == "blocking":
            return client.call(*args, **kwargs)
        return client.portal.call(lambda: client.call_async(*args, **kwargs))

    start = time.monotonic()
    with pytest.raises(DriverError, match=r"^wait: no answer within 0.3 s; give it more with timeout=") as caught:
        call("wait", 2, timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - start < 1.9
    assert call("same", 1, timeout=10) == 1


def test_a_streamed_call_ends_at_its_deadline(client: DriverClient) -> None:
    with pytest.raises(TimeoutError, match=r"tick: no answer within 0.3 s"):
        list(client.streamingcall("tick", 0.05, timeout=0.3))


def test_a_parameter_named_timeout_is_passed_by_position(client: DriverClient) -> None:
    assert client.call("timed", 2, timeout=10) == 2.0
    for wrong in (0, -1, float("nan"), "2", True):
        with pytest.raises(ArgumentError, match="timeout is how many seconds"):
            client.call("timed", 2, timeout=wrong)  # pyright: ignore[reportArgumentType]
    assert client.call("timed", 2, timeout=float("inf")) == 2.0


# classes


@contextmanager
def restricted(sample: Sample, *allow: str) -> Generator[DriverClient]:
    """A client that may load classes of installed driver packages, and those."""
    with Session(root_device=sample) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        with connect(Endpoint(str(path)), Policy.of(allow, unsafe=False)) as client:
            yield client


def test_a_client_makes_objects_of_allowed_classes_only(sample: Sample) -> None:
    with restricted(sample) as client:
        assert client.call("same", Point(1)) == {"x": 1, "y": 0}
        assert client.call("same", [Colour.RED]) == ["red"]
        assert client.call("same", ExporterStatus.AVAILABLE) == 2  # of the core, but no class that the driver knows
    with restricted(sample, f"{__name__}.*") as client:
        assert client.call("same", Point(1)) == Point(1)


def test_the_exporter_imports_nothing_because_a_peer_names_it(sample: Sample) -> None:
    with raw(sample) as call:
        for name in ("antigravity:fly", f"{__name__}:Sample", "subprocess:Popen", "nowhere:x", ":", "a:b:c"):
            text = f'{{"args": [{{"$": "object", "c": "{name}", "v": {{"x": 1}}}}], "kwargs": {{}}}}'
            assert loads(call("same", typed_arguments=text, typed=True).typed_result) == {"x": 1}
    assert "antigravity" not in sys.modules


# peers without the additions


@contextmanager
def raw(sample: Sample) -> Generator[Any]:
    """Calls with fields as they are."""
    with Session(root_device=sample) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        with grpc.insecure_channel(f"unix:{path}") as channel:
            call = cast("Any", channel).unary_unary("/jumpstarter.v1.ExporterService/DriverCall")

            def made(method: str, *args: Value, **fields: Any) -> pb.DriverCallResponse:
                request = pb.DriverCallRequest(uuid=str(sample.uuid), method=method, args=args, **fields)
                return pb.DriverCallResponse.FromString(call(request.SerializeToString(), timeout=5))

            yield made


def test_a_public_client_gets_the_public_form(sample: Sample) -> None:
    number = Value(number_value=5)
    with raw(sample) as call:
        for method, args, expected in (
            ("same", [number], 5.0),
            ("kind", [number], "float"),
            ("as_uuid", [Value(string_value="F" * 32)], "F" * 32),  # not converted by the annotation
            ("as_tuple", [], [1.0, "text"]),
        ):
            response = call(method, *args)
            assert [field.name for field, _ in response.ListFields()] == ["result"]
            assert as_python(response.result) == expected
        response = call("forms")
        assert as_python(response.result) == [5.0, "red", [1.0, "x"], "/a", {"2": {"x": 1.0, "y": 0.0}}, None]
        with pytest.raises(grpc.RpcError, match="utf-8"):
            call("same", typed_arguments='{"args": [{"$": "bytes", "v": "/w=="}], "kwargs": {}}')


def as_python(value: Value) -> Any:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(value)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"args": 1, "kwargs": {}}', '{"args": [], "kwargs": {"$": 1}}'])
def test_arguments_that_are_malformed_are_an_invalid_argument(sample: Sample, text: str) -> None:
    with raw(sample) as call, pytest.raises(grpc.RpcError) as caught:
        call("same", typed_arguments=text)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def public_exporter(requests: list[pb.DriverCallRequest]) -> Generator[DriverClient]:
    """The client of an exporter that knows no additions and answers each call with its first argument."""
    report = pb.GetReportResponse()
    report.reports.add(uuid=str(uuid4())).labels["jumpstarter.dev/client"] = "jumpstarter.client.DriverClient"

    def get_report(request: bytes, context: object) -> bytes:
        return report.SerializeToString()

    def driver_call(request: bytes, context: object) -> bytes:
        requests.append(pb.DriverCallRequest.FromString(request))
        result = requests[-1].args[0] if requests[-1].args else None
        return pb.DriverCallResponse(uuid=str(uuid4()), result=result).SerializeToString()

    handlers: dict[str, Any] = {
        "GetReport": grpc.unary_unary_rpc_method_handler(get_report),
        "DriverCall": grpc.unary_unary_rpc_method_handler(driver_call),
    }
    server: Any = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("jumpstarter.v1.ExporterService", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with connect(Endpoint(f"127.0.0.1:{port}", insecure=True), Policy(unsafe=True)) as client:
            yield client
    finally:
        server.stop(None).wait()


def test_a_public_exporter_gets_the_public_form() -> None:
    requests: list[pb.DriverCallRequest] = []
    with public_exporter(requests) as client:
        assert client.call("same", 5, [Colour.RED, (1, b"x")], {2: Point(1)}) == 5.0
        with pytest.raises(ArgumentError, match=r"^move: the exporter .* by name; pass speed by position$"):
            client.call("move", 1, speed=2)
        with pytest.raises(ValueError):
            client.call("same", b"\xff")
    assert [field.name for field, _ in requests[0].ListFields()] == ["uuid", "method", "args"]
    assert [as_python(arg) for arg in requests[0].args] == [5.0, ["red", [1.0, "x"]], {"2": {"x": 1.0, "y": 0.0}}]
    assert len(requests) == 1


def test_plain_values_travel_in_the_public_form_between_our_own_ends(sample: Sample) -> None:
    with raw(sample) as call:
        for value in (
            Value(string_value="a"),
            Value(bool_value=True),
            Value(number_value=1.5),
            Value(null_value=NULL_VALUE),
        ):
            response = call("same", value, typed=True)
            assert [field.name for field, _ in response.ListFields()] == ["result"]
            assert response.result == value
        assert call("same", typed_arguments='{"args": [5], "kwargs": {}}', typed=True).typed_result == "5"
