"""Drivers without a client class, from Python, over a real socket."""

from __future__ import annotations

import datetime
import inspect
import pydoc
import threading
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from anyio import EndOfStream
from anyio.abc import ObjectStream
from click.testing import CliRunner
from jumpstarter.cli.devices import describe
from jumpstarter.client.base import DriverClient, StubDriverClient
from jumpstarter.client.core import DriverInvalidArgument
from jumpstarter.client.generic import GenericClient, StandInClient
from jumpstarter.client.tree import InvalidReport, Policy, build_tree
from jumpstarter.common import utils
from jumpstarter.common.limits import MAX_METHODS
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.common import create_memory_stream
from jumpstarter.streams.portal import LazyPortal
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from takers import Colour, Point, Taker


class Relay(Driver):
    """Relays of the left bench."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.on: set[int] = set()
        self.closed = threading.Event()

    @export
    def toggle(self, channel: int, *, wait: float = 0.0) -> bool:
        """Switch a channel over; returns whether it is on now."""
        self.on ^= {channel}
        return channel in self.on

    @export
    def late(self, channel: int, timeout: float = 1.5, colour: Colour = Colour.RED) -> str:
        return f"{channel} {timeout} {colour.name}"

    @export
    def watch(self, count: int = 3) -> Generator[int]:
        """Show the changes."""
        try:
            yield from range(count)
        finally:
            self.closed.set()

    @export
    def add(self, *numbers: int, **more: int) -> int:
        return sum(numbers) + sum(more.values())

    @export
    async def load(self, source: str) -> int:
        async with self.resource(source) as stream:
            return sum([len(data) async for data in stream])

    @export
    def close_(self) -> str:
        return "close with an underscore"

    @export
    def stream(self) -> str:
        """Not a byte stream at all."""
        return "a method called stream"

    @export
    def lamp(self) -> str:
        return "a method called lamp"

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """An echo."""
        here, there = create_memory_stream()
        async with here, there:
            yield _Echo(there, here)


class _Echo(ObjectStream[bytes]):
    def __init__(self, there: Any, here: Any) -> None:
        self._there, self._here = there, here

    async def send(self, item: bytes) -> None:
        await self._there.send(item.upper())

    async def receive(self) -> bytes:
        return await self._here.receive()

    async def send_eof(self) -> None:
        await self._there.send_eof()

    async def aclose(self) -> None:
        await self._there.aclose()


def serve(driver: Driver) -> Any:
    return utils.serve(driver)


def test_methods_are_attributes_with_names_types_and_defaults() -> None:
    with serve(Relay()) as relay:
        assert isinstance(relay, GenericClient)
        assert relay.toggle(2) is True
        assert relay.toggle(channel=2, wait=0.0) is False
        assert relay.late(1, colour="GREEN") == "1 1.5 GREEN"
        assert relay.late(1, colour=Colour.GREEN) == "1 1.5 GREEN"
        assert relay.add(1, 2, more=3) == 6


def test_what_is_known_of_a_method_is_shown() -> None:
    with serve(Relay()) as relay:
        assert str(inspect.signature(relay.toggle)) == "(channel: int, *, wait: float = 0.0) -> bool"
        assert str(inspect.signature(relay.watch)) == "(count: int = 3) -> Generator[int]"
        assert str(inspect.signature(relay.connect)) == "() -> AbstractContextManager[BlockingStream]"
        assert relay.toggle.__doc__ == "Switch a channel over; returns whether it is on now."
        assert type(relay).__name__ == "RelayClient"
        text = pydoc.plain(pydoc.render_doc(relay))
        assert "toggle(self, /, channel: int, *, wait: float = 0.0) -> bool" in text
        assert "Relays of the left bench." in text
        assert {"toggle", "watch", "connect"} < set(dir(relay))


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (
            (),
            {},
            "r.toggle: missing a required argument: 'channel' (toggle(channel: int, *, wait: float = 0.0) -> bool)",
        ),
        (("2",), {}, "r.toggle: channel: expected int, got '2' (str); write it without quotes"),
        ((2.5,), {}, "r.toggle: channel: expected int, got 2.5 (float)"),
        ((True,), {}, "r.toggle: channel: expected int, got True (bool)"),
        (
            (),
            {"chanel": 2},
            "r.toggle: unknown parameter 'chanel'; did you mean 'channel'? "
            "(toggle(channel: int, *, wait: float = 0.0) -> bool)",
        ),
        (
            (1, 2),
            {},
            "r.toggle: too many positional arguments (toggle(channel: int, *, wait: float = 0.0) -> bool)",
        ),
        (
            (1,),
            {"channel": 2},
            "r.toggle: multiple values for argument 'channel' (toggle(channel: int, *, wait: float = 0.0) -> bool)",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_one_line_before_anything_is_sent(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    relay = Relay()
    with serve(Group(children={"r": relay})) as group, pytest.raises(DriverInvalidArgument) as caught:
        group.r.toggle(*args, **kwargs)
    assert str(caught.value) == message
    assert not relay.on


class Group(Driver):
    """Has children only."""


def test_an_unknown_attribute_says_what_there_is() -> None:
    with serve(Group(children={"relay": Relay()})) as group:
        with pytest.raises(
            AttributeError, match=r"^relay \(RelayClient\) has no method or child 'togle'; did you mean"
        ):
            group.relay.togle(1)
        with pytest.raises(
            AttributeError, match=r"the root \(GroupClient\) has no .* 'relais'; did you mean 'relay'\?"
        ):
            group.relais.toggle(1)
        assert not hasattr(group, "_repr_html_")


def test_a_stream_of_values_is_a_generator_that_closes_the_drivers() -> None:
    driver = Relay()
    with serve(driver) as relay:
        assert list(relay.watch(count=2)) == [0, 1]
        driver.closed.clear()
        items = relay.watch(1_000_000)
        assert next(items) == 0
        items.close()
        assert driver.closed.wait(60)
        with pytest.raises(DriverInvalidArgument):  # at once, not with the first item
            relay.watch("many")


def test_a_byte_stream_is_a_context_manager() -> None:
    with serve(Relay()) as relay, relay.connect() as stream:
        stream.send(b"hello")
        assert stream.receive() == b"HELLO"
        stream.send_eof()
        with pytest.raises(EndOfStream):
            stream.receive()


def test_the_handle_of_a_file_passes_whatever_the_annotation_says() -> None:
    with serve(Relay()) as relay:
        source, there = create_memory_stream()

        async def fill() -> None:
            await there.send(b"12345")
            await there.aclose()

        relay.portal.call(fill)
        with relay.portal.wrap_async_context_manager(relay.resource_async(source)) as handle:
            assert relay.load(handle) == 5


def test_a_name_that_is_taken_is_reached_with_an_underscore() -> None:
    child = Group(children={"stream": Group(), "deep": Relay()})
    with serve(Relay(children={"lamp": child})) as relay:
        assert relay.stream_() == "a method called stream"
        assert relay.close_() == "close with an underscore"
        assert relay.lamp() == "a method called lamp"
        assert relay.lamp_.deep.toggle(1) is True
        assert relay.lamp_.stream_ is relay.lamp_.children["stream"]
        assert relay.call("stream") == "a method called stream"


def test_timeout_is_the_deadline_unless_the_method_has_such_a_parameter() -> None:
    with serve(Relay()) as relay:
        assert relay.late(1, timeout=3.0) == "1 3.0 RED"
        assert relay.late(1, 2.5) == "1 2.5 RED"
        assert relay.toggle(1, timeout=5.0) is True


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("method", "value", "arrived"),
    [
        ("bool", True, "True"),
        ("int", 2**70, str(2**70)),
        ("float", float("inf"), "inf"),
        ("str", "ü\n", "'ü\\n'"),
        ("bytes", b"\x00\xff", "b'\\x00\\xff'"),
        ("uuid", UUID, repr(UUID)),
        ("path", Path("/a/b"), "/a/b"),
        ("datetime", datetime.datetime(2030, 1, 31, 12, 0), "2030-01-31T12:00:00"),
        ("date", datetime.date(2030, 1, 31), "2030-01-31"),
        ("time", datetime.time(12, 30), "12:30:00"),
        ("timedelta", datetime.timedelta(minutes=90), "1:30:00"),
        ("decimal", Decimal("1.10"), "1.10"),
        ("list", [1, 2], "[1, 2]"),
        ("pair", (1, "a"), "(1, 'a')"),
        ("tuple", (1, 2), "(1, 2)"),
        ("set", {"b", "a"}, "['a', 'b']"),
        ("dict", {"a": 1}, "{'a': 1}"),
        ("optional", None, "None"),
        ("union", "x", "'x'"),
        ("literal", 3, "3"),
        ("enum", Colour.GREEN, "GREEN"),
        ("enum", "RED", "RED"),
        ("enum", 2, "GREEN"),
        ("point", Point(1), "Point(x=1, y=0.5)"),
        ("point", {"x": 1, "y": 2}, "Point(x=1, y=2.0)"),
        ("nested", [{"a": Point(1), "b": None}], "[{'a': Point(x=1, y=0.5), 'b': None}]"),
        ("any", {"x": [1, None]}, "{'x': [1, None]}"),
    ],
)
def test_every_type_arrives(method: str, value: Any, arrived: str) -> None:
    with serve(Taker()) as taker:
        assert getattr(taker, f"take_{method}")(value) == arrived


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("bool", 1, "expected bool, got 1 (int)"),
        ("int", 1.5, "expected int, got 1.5 (float)"),
        ("float", "1", "expected float, got '1' (str); write it without quotes"),
        ("str", 1, 'expected str, got 1 (int); write it as "1"'),
        ("bytes", 1, "expected bytes, got 1 (int)"),
        ("uuid", "x", "expected UUID, got 'x' (str)"),
        ("path", 1, "expected a path, got 1 (int)"),
        ("datetime", [], "expected a datetime, got [] (list)"),
        ("list", [1, "x"], "item 1: expected int, got 'x' (str)"),
        ("pair", (1,), "expected list of 2 (int, str), got (1,) (tuple)"),
        ("dict", {"a": "x"}, "key 'a': expected int, got 'x' (str)"),
        ("optional", "x", "expected int or nothing (null), got 'x' (str)"),
        ("literal", "hihg", "expected 'low', 'high' or 3, got 'hihg' (str); did you mean 'high'?"),
        ("enum", "REDD", "expected RED or GREEN, got 'REDD' (str); did you mean 'RED'?"),
        ("point", {"x": "a"}, "key 'x': expected int, got 'a' (str)"),
        ("point", 5, "expected Point, got 5 (int)"),
        ("nested", [{"a": {"x": "b"}}], "item 0: key 'a': key 'x': expected int, got 'b' (str)"),
    ],
)
def test_every_type_is_checked(method: str, value: Any, message: str) -> None:
    with serve(Taker()) as taker, pytest.raises(DriverInvalidArgument) as caught:
        getattr(taker, f"take_{method}")(value)
    assert str(caught.value) == f"take_{method}: value: {message}"


# reports that are not ours


def described(methods: list[pb.MethodDescriptor], **fields: Any) -> DriverClient:
    """The client of an exporter that reports such a type."""
    report = pb.DriverInstanceReport(
        uuid=str(UUID), labels={"jumpstarter.dev/client": "nowhere.Client"}, driver_type=fields.get("name", "lab.Relay")
    )
    kind = pb.DriverType(name=fields.get("name", "lab.Relay"), doc=fields.get("doc", ""), methods=methods)
    with ExitStack() as stack:
        return build_tree([report], None, LazyPortal(), stack, Policy(), [kind])


def method(name: str, *parameters: pb.ParameterDescriptor, **fields: Any) -> pb.MethodDescriptor:
    return pb.MethodDescriptor(
        name=name, kind=fields.pop("kind", pb.MethodDescriptor.CALL), parameters=parameters, **fields
    )


def parameter(name: str, type: str = "int", **fields: Any) -> pb.ParameterDescriptor:
    return pb.ParameterDescriptor(
        name=name, kind=fields.pop("kind", pb.ParameterDescriptor.PLAIN), type=pb.TypeDescriptor(kind=type), **fields
    )


@pytest.mark.parametrize(
    "name", ["__class__", "__del__", "__init__", "_repr_html_", "_methods", "\x1b[31m", "a b", "--help", "", "x" * 300]
)
def test_a_method_of_a_name_that_no_method_has_is_no_attribute(name: str) -> None:
    client = described([method(name), method("fine")])
    assert isinstance(client, GenericClient)
    assert name not in vars(type(client)) or not hasattr(vars(type(client))[name], "__signature__")
    assert "fine" in dir(client)
    assert client.__class__.__mro__[1] is StandInClient


@pytest.mark.parametrize(
    "name", ["call", "children", "stub", "portal", "close", "uuid", "logger", "cli", "path", "name"]
)
def test_a_method_never_replaces_what_every_client_has(name: str) -> None:
    client = described([method(name)])
    assert type(getattr(client, name)) is type(getattr(described([method("other")]), name))
    assert callable(getattr(client, f"{name}_"))


@pytest.mark.parametrize(
    "parameters",
    [
        [parameter("a"), parameter("a")],
        [parameter("\x1b")],
        [parameter("lambda")],
        [parameter("a", default="1"), parameter("b")],
        [parameter("a", kind=99)],
        [parameter("a", kind=pb.ParameterDescriptor.VARIADIC), parameter("b", kind=pb.ParameterDescriptor.VARIADIC)],
    ],
)
def test_parameters_that_make_no_signature_leave_the_check_to_the_exporter(
    parameters: list[pb.ParameterDescriptor],
) -> None:
    client = cast("Any", described([method("odd", *parameters)]))
    assert str(inspect.signature(client.odd)) == "(*args, **kwargs)"


def test_a_parameter_called_self_is_one() -> None:
    client = cast("Any", described([method("odd", parameter("self"))]))
    assert str(inspect.signature(client.odd)).startswith("(self: int)")


@pytest.mark.parametrize("default", ["{", "x\x1b[31m", '{"$": "object", "c": "os:system", "v": {}}', "[" * 3000])
def test_a_default_that_is_none_is_shown_as_one_that_cannot_be(default: str) -> None:
    client = cast("Any", described([method("odd", parameter("a", default=default))]))
    text = str(inspect.signature(client.odd))
    assert "\x1b" not in text
    assert len(text) < 200


def test_docs_that_would_steer_a_terminal_are_made_visible_and_cut() -> None:
    client = described([method("odd", doc="\x1b]0;owned\x07" + "x" * 100_000)], doc="\u202eevil", name="lab.\x1bRelay")
    assert type(client).__name__ == "GenericClient"
    assert type(client).__doc__ == "\\u202eevil"
    doc = cast("Any", client).odd.__doc__
    assert doc.startswith("\\x1b]0;owned\\x07xxx")
    assert len(doc) < 30_000


def test_help_texts_of_the_configuration_do_not_steer_a_terminal() -> None:
    report = pb.DriverInstanceReport(
        uuid=str(UUID), description="\x1b[2J\u202elamp", methods_description={"on": "\x1b[31mred"}
    )
    report.labels["jumpstarter.dev/client"] = "jumpstarter.client.DriverClient"
    with ExitStack() as stack:
        client = build_tree([report], None, LazyPortal(), stack, Policy())
    assert client.description == "\\x1b[2J\\u202elamp"
    assert client.methods_description == {"on": "\\x1b[31mred"}


def test_commands_of_a_hostile_report_are_harmless() -> None:
    hostile = "\x1b]0;owned\x07\u202e"
    enum = pb.TypeDescriptor(kind="enum", name=hostile, choices=[f"{hostile}=1", "B=", "C"] + ["D=1"] * 1000)
    parameters = [
        pb.ParameterDescriptor(name="a", kind=pb.ParameterDescriptor.PLAIN, type=enum),
        parameter("b", type=hostile, default=f'"{hostile}"'.replace("\x1b", "\\u001b").replace("\x07", "")),
        pb.ParameterDescriptor(
            name="c",
            kind=pb.ParameterDescriptor.KEYWORD_ONLY,
            type=pb.TypeDescriptor(kind="literal", choices=[f'"{hostile}"', "{", "null"]),
        ),
    ]
    many = [method(f"m{i}", doc=hostile) for i in range(9000)]
    client: Any = described([method("odd", *parameters, doc=hostile * 10), method(hostile), *many], doc=hostile)
    command = client.cli()
    runner = CliRunner()
    outputs = [
        runner.invoke(command, ["--help"]).output,
        runner.invoke(command, ["odd", "--help"]).output,
        runner.invoke(command, ["odd", "x"]).output,
        runner.invoke(command, ["odd", hostile]).output,
        describe(client),
    ]
    for output in outputs:
        assert output
        assert all(line.isprintable() for line in output.splitlines())
    assert len(outputs[-1]) < 1000


def test_types_of_a_kind_that_is_not_known_take_everything() -> None:
    client = cast("Any", described([method("odd", parameter("a", type="tensor\x1b[0m"))]))
    assert str(inspect.signature(client.odd)).startswith("(a: tensor\\x1b[0m)")


def test_kinds_of_methods_that_are_not_known_are_left_out() -> None:
    client = described([method("odd", kind=77), method("fine")])
    assert "odd" not in dir(client)


def test_ten_thousand_methods_are_fine_and_more_are_refused() -> None:
    many = [method(f"m{i}", parameter("a")) for i in range(MAX_METHODS)]
    client = described(many)
    assert callable(cast("Any", client).m9999)
    with pytest.raises(InvalidReport, match="describes 10001 methods"):
        described([*many, method("one_too_many")])


@pytest.mark.parametrize("name", ["__class__", "a/b", "..", "\x1b[2J", "a\nb", "\u202ex", "", "x" * 256])
def test_a_driver_of_a_name_that_is_none_is_refused(name: str) -> None:
    label = {"jumpstarter.dev/client": "jumpstarter.client.DriverClient", "jumpstarter.dev/name": name}
    reports = [
        pb.DriverInstanceReport(uuid=str(UUID)),
        pb.DriverInstanceReport(uuid=str(uuid.uuid4()), parent_uuid=str(UUID), labels=label),
    ]
    with ExitStack() as stack, pytest.raises(InvalidReport) as caught:
        build_tree(reports, None, LazyPortal(), stack, Policy())
    assert str(caught.value).isprintable()


def test_a_driver_of_an_exporter_that_describes_nothing_is_a_stub() -> None:
    report = pb.DriverInstanceReport(
        uuid=str(UUID), labels={"jumpstarter.dev/client": "jumpstarter.client.generic.GenericClient"}
    )
    with ExitStack() as stack:
        client = build_tree([report], None, LazyPortal(), stack, Policy())
    assert isinstance(client, StubDriverClient)
    assert not hasattr(client, "cli")
