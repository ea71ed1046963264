"""What the report says of a driver's methods, and what is refused when a driver class is defined."""

import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from io import BytesIO
from pathlib import Path
from re import Pattern
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, NewType, Protocol, TypedDict
from uuid import UUID

import pytest
from google.protobuf.json_format import MessageToDict
from jumpstarter.common.typed import loads
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.driver.describe import describe, describe_type
from jumpstarter.driver.table import exported_methods
from jumpstarter_protocol import jumpstarter_pb2 as pb
from pydantic import BaseModel, Field, SecretStr

if TYPE_CHECKING:
    from nowhere import Missing  # pyright: ignore[reportMissingImports, reportUnknownVariableType] what is tested


class Colour(Enum):
    RED = "red"
    GREEN = (1, 2)


@dataclass
class Node:
    name: str
    children: "list[Node]" = field(default_factory=list["Node"])
    seen: datetime = field(default_factory=datetime.now)
    count: int = 1
    size: int = field(default=0, init=False)


class Login(BaseModel):
    user: str = "root"
    password: SecretStr
    tags: list[str] = Field(default_factory=list)


class Pair(NamedTuple):
    a: int
    b: str


class Options(TypedDict):
    speed: int


class Opaque:
    pass


class Closable(Protocol):
    def close(self) -> None: ...


Volts = NewType("Volts", float)


class Sample(Driver):
    """A driver with one method of each kind.

    More of it.
    """

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    @export(read_only=True)
    def measure(
        self,
        first: int,
        /,
        second: "str | None" = None,
        *more: float,
        third: Colour = Colour.GREEN,
        unknown: "Missing" = None,  # pyright: ignore[reportUnknownParameterType]
        **named: bytes,
    ) -> dict[str, Volts]:
        """Measure it.

        In detail.
        """
        return {}

    @export
    async def watch(self, every: timedelta = timedelta(seconds=1)) -> AsyncGenerator[Node]:
        yield Node("a")

    @export  # pyright: ignore[reportUnknownArgumentType]
    def plain(self, value): ...  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Any]:
        """Bytes."""
        yield None


class Derived(Sample):
    @export
    def plain(self, value: int = 5, marker: object = object) -> None: ...


def as_dict(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Any, {"kind": "any"}),
        (object, {"kind": "any"}),
        ("Missing", {"kind": "any"}),
        (None, {"kind": "none"}),
        (bool, {"kind": "bool"}),
        (Volts, {"kind": "float"}),
        (bytes, {"kind": "bytes"}),
        (UUID, {"kind": "uuid"}),
        (Path, {"kind": "path"}),
        (datetime, {"kind": "datetime"}),
        (Decimal, {"kind": "decimal"}),
        (SecretStr, {"kind": "secret"}),
        (list, {"kind": "list"}),
        (list[int], {"kind": "list", "items": [{"kind": "int"}]}),
        (Sequence[int], {"kind": "list", "items": [{"kind": "int"}]}),
        (Iterable[str], {"kind": "list", "items": [{"kind": "str"}]}),
        (tuple[int, ...], {"kind": "tuple", "items": [{"kind": "int"}], "variadic": True}),
        (tuple[int, str], {"kind": "tuple", "items": [{"kind": "int"}, {"kind": "str"}]}),
        (frozenset[int], {"kind": "frozenset", "items": [{"kind": "int"}]}),
        (Mapping[int, str], {"kind": "dict", "items": [{"kind": "int"}, {"kind": "str"}]}),
        (int | None, {"kind": "union", "items": [{"kind": "int"}, {"kind": "none"}]}),
        (Literal["a", 1], {"kind": "literal", "choices": ['"a"', "1"]}),
        (Options, {"kind": "dict", "items": [{"kind": "str"}, {"kind": "any"}]}),
        (Callable[[int], str], {"kind": "any"}),
    ],
)
def test_a_type_is_described_by_its_kind(annotation: Any, expected: dict[str, Any]) -> None:
    assert as_dict(describe(annotation)) == expected


def test_an_enum_is_described_by_its_choices() -> None:
    described = describe(Colour)
    assert (described.kind, described.name) == ("enum", f"{__name__}.Colour")
    assert list(described.choices) == ['RED="red"', 'GREEN={"$":"tuple","v":[1,2]}']


def test_an_object_is_described_by_its_fields_and_once_by_name_inside_itself() -> None:
    described = describe(Node)
    assert [(field.name, field.type.kind) for field in described.fields] == [
        ("name", "str"),
        ("children", "list"),
        ("seen", "datetime"),
        ("count", "int"),
    ]
    inner = described.fields[1].type.items[0]
    assert (inner.kind, inner.name, list(inner.fields)) == ("object", f"{__name__}.Node", [])
    assert [field.HasField("default") for field in described.fields] == [False, True, True, True]
    assert loads(described.fields[1].default) == ...  # a factory
    assert loads(described.fields[3].default) == 1


def test_a_model_is_described_by_its_fields() -> None:
    described = describe(Login)
    assert [(f.name, f.type.kind, f.default or None) for f in described.fields] == [
        ("user", "str", '"root"'),
        ("password", "secret", None),
        ("tags", "list", "[]"),
    ]


def test_methods_are_described() -> None:
    described = describe_type(Sample)
    assert described is describe_type(Sample)
    assert (described.name, described.doc) == (
        f"{__name__}.Sample",
        "A driver with one method of each kind.\n\nMore of it.",
    )
    methods = {method.name: method for method in described.methods}
    assert {name: pb.MethodDescriptor.Kind.Name(method.kind) for name, method in methods.items()} == {
        "connect": "BYTE_STREAM",
        "measure": "CALL",
        "plain": "CALL",
        "watch": "STREAMING_CALL",
    }
    measure = methods["measure"]
    assert measure.read_only
    assert measure.doc == "Measure it.\n\nIn detail."
    assert [
        (
            p.name,
            pb.ParameterDescriptor.Kind.Name(p.kind),
            p.type.kind,
            loads(p.default, lambda _: Colour) if p.HasField("default") else "required",
        )
        for p in measure.parameters
    ] == [
        ("first", "POSITIONAL_ONLY", "int", "required"),
        ("second", "PLAIN", "union", None),
        ("more", "VARIADIC", "float", "required"),
        ("third", "KEYWORD_ONLY", "enum", Colour.GREEN),
        ("unknown", "KEYWORD_ONLY", "any", None),
        ("named", "VARIADIC_KEYWORDS", "bytes", "required"),
    ]
    assert as_dict(measure.result) == {"kind": "dict", "items": [{"kind": "str"}, {"kind": "float"}]}
    assert methods["watch"].result.name == f"{__name__}.Node"
    assert methods["plain"].parameters[0].type.kind == "any"
    assert not methods["plain"].HasField("result")


def test_an_override_is_described_as_it_is_now() -> None:
    method = {method.name: method for method in describe_type(Derived).methods}["plain"]
    assert [(p.name, p.default) for p in method.parameters] == [("value", "5"), ("marker", '{"$":"default"}')]
    assert describe_type(Derived).doc == ""


def test_the_report_has_each_type_once() -> None:
    with serve(Sample(children={"a": Derived(), "b": Derived()})) as client:
        report = client.stub.blocking.GetReport(pb.GetStatusRequest())
    assert [driver.driver_type for driver in report.reports] == [
        f"{__name__}.{n}" for n in ("Sample", "Derived", "Derived")
    ]
    assert [kind.name for kind in report.driver_types] == [f"{__name__}.Sample", f"{__name__}.Derived"]
    assert report.additions == 2


def test_secret_parameters_are_known() -> None:
    class Secretive(Driver):
        @export
        def login(self, user: str, word: SecretStr | None, more: list[Login], pair: Pair) -> None: ...

    assert exported_methods(Secretive)["login"].secrets == {"word", "more"}


# definition


def define(annotation: Any, *, of_result: bool = False, default: bool = False) -> type[Driver]:
    """A driver class with one exported method with that annotation."""

    def send(self: Driver, what: Any) -> Any: ...

    def send_default(self: Driver, what: Any = None) -> Any: ...

    function = send_default if default else send
    function.__annotations__ = {"return" if of_result else "what": annotation}
    function.__name__ = "send"
    return type("Relay", (Driver,), {"send": export(function)})


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Callable, "a function; use a name"),
        (Callable[[int], str], "a function; use a name"),
        (type[int], "a function; use a name"),
        (Generator[int], "an object of Generator; use a list"),
        (AsyncIterator[int], "an object of AsyncIterator; use a list, or a byte stream by @exportstream"),
        (Awaitable[int], "an object of Awaitable"),
        (IO[bytes], r"a file; use a handle, and self.resource\(handle\)"),
        (BytesIO, "a file; use a handle"),
        (Opaque, "an object of Opaque, of which nothing says what it is made of; use a dataclass or pydantic model"),
        (list[Opaque], "an object of Opaque"),
        (Opaque | Callable[[], None], "an object of Opaque"),
        (Driver, r"a driver \(Driver\); use its name, and self.children"),
    ],
)
def test_a_parameter_that_cannot_be_carried_is_refused_when_the_class_is_defined(annotation: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^Relay.send, parameter what: a client cannot send {message}"):
        define(annotation)


def test_a_field_that_cannot_be_carried_is_named() -> None:
    @dataclass
    class Job:
        name: str
        then: Callable[[], None]

    with pytest.raises(TypeError, match=r"parameter what: .* an object of Job, whose field then is a function"):
        define(Job)


@pytest.mark.parametrize("annotation", [Opaque, list[Opaque], Generator[Opaque], Callable[[], None]])
def test_a_result_that_cannot_be_carried_is_refused_when_the_class_is_defined(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"^Relay.send, result: a client cannot receive"):
        define(annotation, of_result=True)


@pytest.mark.parametrize(
    "annotation",
    [
        *(
            None,
            Any,
            object,
            "Missing",
            int,
            list,
            dict[str, list[Node]],
            Node,
            Login,
            Pair,
            Options,
            Colour,
            SecretStr,
        ),
        *(Closable, Pattern[str], Literal["a"], Opaque | None, Callable[[], None] | str, Iterable[int], Volts),
    ],
)
def test_what_can_be_carried_or_cannot_be_told_passes(annotation: Any) -> None:
    define(annotation)
    define(annotation, of_result=True)


@pytest.mark.parametrize("annotation", [Opaque, Callable[[], None], Generator[int]])
def test_a_parameter_with_a_default_passes_since_no_client_need_send_it(annotation: Any) -> None:
    define(annotation, default=True)


def test_a_method_of_a_mixin_is_checked_too() -> None:
    class Mixin:
        @export
        def send(self, what: Opaque) -> None: ...

    with pytest.raises(TypeError, match=r"Relay.send, parameter what"):
        type("Relay", (Mixin, Driver), {})


def test_defining_and_describing_plain_methods_needs_no_pydantic() -> None:
    program = """
import sys
from jumpstarter.driver import Driver, export
from jumpstarter.driver.describe import describe_type
class Relay(Driver):
    @export
    def on(self, channel: int, names: dict[str, list[int | None]] | None = None, later: "Missing" = 1) -> None: ...
    @export
    def read(self): ...
describe_type(Relay)
sys.exit("pydantic" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
