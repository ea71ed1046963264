"""Defects that systems of this kind are known to have: each test says that ours does the opposite.

What belongs to one part has its test there; here is what has no better place.
"""

from __future__ import annotations

import ast
import json
import logging
import queue
import re
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import click
import grpc
import pytest
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ObjectStream
from anyio.streams.stapled import StapledObjectStream
from click.testing import CliRunner
from google.protobuf.empty_pb2 import Empty
from jumpstarter.client import DriverClient
from jumpstarter.client.core import DriverError
from jumpstarter.client.decorators import driver_click_group
from jumpstarter.client.tree import Policy
from jumpstarter.common.annotations import resolved_annotations
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.driver.table import exported_methods
from jumpstarter.streams import frames
from jumpstarter.streams.common import create_memory_stream
from jumpstarter_protocol.jumpstarter.v1.router_pb2 import StreamRequest, StreamResponse

if TYPE_CHECKING:
    from conftest import Lab

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for path in ROOT.glob("packages/*/jumpstarter*/**/*.py") if "jumpstarter_protocol" not in path.parts]


class Port(Driver):
    """A device with a byte stream, which notes what arrives there and how it ends."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.arrived: list[bytes] = []
        self.ended = threading.Event()
        self.how: BaseException | None = None

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        ours, theirs = create_memory_stream()
        async with ours, theirs:
            port = self

            class Noting(StapledObjectStream[bytes]):
                async def send(self, item: bytes) -> None:
                    port.arrived.append(item)
                    await super().send(item)

            try:
                yield Noting(ours, theirs)
            except BaseException as e:
                self.how = e
                raise
            finally:
                self.ended.set()

    @exportstream
    @asynccontextmanager
    async def short(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Ends at once, and reads nothing."""
        ours, theirs = create_memory_stream()
        async with ours:
            await theirs.aclose()
            yield ours

    @export
    def ignore(self, file: Any) -> None:
        """Takes a file, and does not look at it."""

    @export
    async def peek(self, file: Any) -> int:
        """Reads only the beginning of a file."""
        async with self.resource(file) as stream:
            return len(await stream.receive())

    @export
    def on(self) -> None:
        self.logger.info("on")


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def client(port: Port) -> Generator[DriverClient]:
    with serve(port) as client:
        yield client


# the path of bytes


@dataclass
class Endless(ObjectStream[bytes]):
    """A file that does not end."""

    async def receive(self) -> bytes:
        return b"x" * 65536

    async def send(self, item: bytes) -> None:
        raise ClosedResourceError

    async def send_eof(self) -> None: ...
    async def aclose(self) -> None: ...


@pytest.mark.parametrize("method", ["ignore", "peek"])
def test_a_client_leaves_a_file_that_its_driver_did_not_read(client: DriverClient, method: str) -> None:
    async def offer() -> None:
        async with client.resource_async(Endless()) as handle:
            await client.call_async(method, handle)

    started = time.monotonic()
    with suppress(BrokenResourceError, DriverError):  # the file was not read to its end, which may be told
        client.portal.call(offer)
    assert time.monotonic() - started < 5


class RawStream:
    """A stream call without our own client's help, whose frames are written one by one."""

    def __init__(self, client: DriverClient, method: str) -> None:
        self._frames: queue.SimpleQueue[StreamRequest | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(client.stub.endpoint.target)
        opened = self._channel.stream_stream(
            "/jumpstarter.v1.RouterService/Stream", StreamRequest.SerializeToString, StreamResponse.FromString
        )
        request = json.dumps({"kind": "driver", "uuid": str(client.uuid), "method": method})
        self.call: Any = opened(iter(self._frames.get, None), metadata=(("request", request),), timeout=10)

    def send(self, payload: bytes = b"", kind: int = 0) -> None:
        self._frames.put(StreamRequest(payload=payload, frame_type=kind))  # pyright: ignore[reportArgumentType]

    def close(self) -> None:
        self._frames.put(None)
        self.call.cancel()
        self._channel.close()


@contextmanager
def raw_stream(client: DriverClient, method: str = "connect") -> Generator[RawStream]:
    stream = RawStream(client, method)
    try:
        yield stream
    finally:
        stream.close()


def test_a_stream_call_ends_once_both_directions_have_although_its_client_keeps_it(client: DriverClient, port: Port):
    with raw_stream(client) as stream:
        stream.send(b"hello")
        assert next(stream.call).payload == b"hello"
        stream.send(kind=frames.GOAWAY)
        assert [frame.frame_type for frame in stream.call] == [frames.GOAWAY]  # the call ends by itself
        assert stream.call.code() is grpc.StatusCode.OK
        assert port.ended.wait(60)


def test_only_data_reaches_a_device(client: DriverClient, port: Port):
    with raw_stream(client) as stream:
        for kind in (frames.PING, 99, frames.PING):
            stream.send(b"not data", kind)
        stream.send(b"data")
        assert next(stream.call).payload == b"data"
    assert port.arrived == [b"data"]


def test_a_reset_by_the_peer_breaks_a_stream_and_is_no_end_of_it(client: DriverClient, port: Port):
    with raw_stream(client) as stream:
        stream.send(b"data")
        next(stream.call)
        stream.send(kind=frames.RST_STREAM)
        with pytest.raises(grpc.RpcError):
            list(stream.call)
        assert port.ended.wait(60)
    assert port.how is not None


def test_who_writes_after_the_exporter_has_ended_learns_it_in_words(client: DriverClient):
    with (
        pytest.raises((BrokenResourceError, ClosedResourceError, DriverError)) as error,
        client.stream("short") as stream,
    ):
        with suppress(EndOfStream):
            stream.receive()
        for _ in range(100):
            stream.send(b"x" * 65536)
            time.sleep(0.01)
    assert "InvalidState" not in str(error.value)


# calls


def test_a_typing_error_is_one_line_in_the_log(client: DriverClient, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    for method in ("onn", "connect", "__init__"):
        with pytest.raises(NotImplementedError):
            client.call(method)
        with pytest.raises(NotImplementedError):
            list(client.streamingcall(method))
    time.sleep(0.2)
    assert len(caplog.records) == 6
    assert not [record for record in caplog.records if record.exc_info or "Traceback" in record.getMessage()]


def test_a_generator_is_exported_as_one_in_every_driver_of_ours():
    wrong: list[str] = []
    for entry in entry_points(group="jumpstarter.drivers"):
        cls = entry.load()
        for name, method in exported_methods(cls).items():
            result = resolved_annotations(method.function).get("return")
            yields = re.match(r".*(Generator|Iterator|Iterable)", str(get_origin(result) or result))
            if yields and method.kind == "call":
                wrong.append(f"{cls.__name__}.{name}")
    assert wrong == []


# the log


def test_the_chatter_of_libraries_is_not_in_the_log_of_a_session(
    client: DriverClient, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    for name in ("grpc", "grpc._cython.cygrpc", "asyncio"):
        logging.getLogger(name).debug("chatter")
        logging.getLogger(name).error("an error")
    client.call("on")

    async def read() -> list[str]:
        lines: list[str] = []
        call = client.stub.LogStream(Empty())
        while "on" not in lines:
            lines.append((await call.read()).message)
        call.cancel()
        return lines

    lines = client.portal.call(read)
    assert "chatter" not in lines
    assert lines.count("an error") == 3


# the life of an exporter

WITNESS = """\
from dataclasses import dataclass
from pathlib import Path
from jumpstarter.driver import Driver, export

@dataclass(kw_only=True)
class Witness(Driver):
    path: str

    @classmethod
    def client(cls):
        return "jumpstarter.client.DriverClient"

    def __post_init__(self):
        super().__post_init__()
        self.note("made")

    def note(self, what):
        with Path(self.path).open("a") as file:
            file.write(f"{what} {self.uuid}\\n")

    def reset(self):
        self.note("reset")

    def close(self):
        self.note("closed")

    @export
    def on(self):
        self.note("on")
"""

WITNESS_CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: {name}}}
export:
  witness:
    type: witness.Witness
    config: {{path: %s}}
  again:
    ref: witness
"""


def test_drivers_are_made_once_whatever_sessions_there_are(lab: Lab):
    lab.directory.joinpath("witness.py").write_text(WITNESS)
    noted = lab.directory / "noted"
    lab.environment |= {"PYTHONPATH": str(lab.directory), "JMP_DRIVERS_ALLOW": "UNSAFE"}
    code = "from jumpstarter.utils.env import env\nwith env() as client: client.children['again'].call('on')"
    with lab.exporter(config=lab.write("witness", WITNESS_CONFIG % noted)) as exporter:
        for _ in range(3):
            done = lab.run("jmp", "shell", "--name", "witness", "--", "python", "-c", code)
            assert done.returncode == 0, done.stderr
        assert exporter.stop() == 0
    events = [line.split()[0] for line in noted.read_text().splitlines()]
    assert events.count("made") == 1
    assert events.count("on") == 3
    assert events.count("closed") == 1
    assert events[:2] == ["made", "reset"]
    assert events[-1] == "closed"
    assert len({line.split()[1] for line in noted.read_text().splitlines()}) == 1


# clients and commands


def test_commands_of_a_client_have_names_order_and_help_as_they_were_written():
    client = DriverClient(
        stub=None, portal=None, stack=ExitStack(), methods_description={"second-one": "From the exporter."}
    )

    @driver_click_group(client)
    def base() -> None: ...

    @base.command
    @click.option("--one", help="The first.")
    @click.option("--two", help="The other.")
    def zero(one: str, two: str) -> None:
        """Without parentheses."""
        click.echo("zero")

    @base.command("second-one")
    def second() -> None:
        """In the client's words."""

    runner = CliRunner()
    assert runner.invoke(base, ["zero"]).output == "zero\n"
    shown = runner.invoke(base, ["zero", "--help"]).output
    assert shown.index("--one") < shown.index("--two")
    assert "From the exporter." in runner.invoke(base, ["second-one", "--help"]).output
    assert [parameter.name for parameter in zero.params] == ["one", "two"]


def test_an_empty_list_of_allowed_drivers_allows_nothing():
    assert Policy.of([""], unsafe=False) == Policy()


def test_a_client_can_be_asked_for_attributes_that_it_does_not_have(client: DriverClient):
    assert not hasattr(client, "nothing_of_that_name")


# what the code must not do


def trees() -> Generator[tuple[Path, ast.Module]]:
    for path in SOURCES:
        yield path, ast.parse(path.read_text())


def test_nothing_is_closed_by_the_garbage_collector():
    found = [
        str(path)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__del__"
    ]
    assert found == []


def test_no_private_module_of_a_library_is_imported():
    found = [
        f"{path}:{node.lineno} {node.module}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.level == 0
        and re.search(r"\b(anyio|grpc|click)\._", node.module or "")
    ]
    assert found == []
