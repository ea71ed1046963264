"""What a client does with the bench: one function for each way of using the protocol.

Run by the Python of any release, with the exporter's address in the environment:

    python scenarios.py RESULTS          all of them; writes a line of JSON for each
    python scenarios.py RESULTS NAME...  these
    python scenarios.py --idle RESULTS SECONDS   a connection that is idle for that long, and then used
    python scenarios.py --hold           opens everything, says "held" and waits to be killed
    python scenarios.py --victim RESULTS     says "held", and then notes how the loss of its exporter looks

INTEROP_CLIENT and INTEROP_EXPORTER name the releases at both ends. The public protocol has no integers and no types, so
numbers are compared as numbers; where the public release does something else than it should, the scenario says so.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import inspect
import json
import logging
import lzma
import os
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import ObjectStream
from jumpstarter.client.core import DriverError, DriverInvalidArgument, DriverMethodNotImplemented
from jumpstarter.common import ExporterStatus
from jumpstarter.streams.metadata import MetadataStreamAttributes
from jumpstarter.utils.env import env

CLIENT, EXPORTER = os.environ["INTEROP_CLIENT"], os.environ["INTEROP_EXPORTER"]
TRANSPORT = os.environ["INTEROP_TRANSPORT"]
OURS = "ours"
BOTH_OURS = CLIENT == EXPORTER == OURS
PUBLIC_EXPORTER = EXPORTER != OURS
MIB = 1 << 20

SCENARIOS: list[Callable[[Any], str | None]] = []


def scenario(function: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    """Register one; its text result is a remark, "-…" says why it does not apply."""
    SCENARIOS.append(function)
    return function


def equal(found: Any, expected: Any) -> None:
    assert found == expected, f"{found!r} is not {expected!r}"


# what there is


@scenario
def report(client: Any) -> None:
    """A tree with references to a leaf and to a group."""
    equal(sorted(client.children), ["again", "echo", "group", "power", "probe", "rack"])
    equal(sorted(client.group.children), ["lines", "supply"])
    equal(client.group.supply.uuid, client.power.uuid)
    equal(client.group.lines.uuid, client.rack.uuid)
    equal(client.group.lines.inner.uuid, client.rack.inner.uuid)
    equal(client.again.uuid, client.rack.inner.uuid)
    equal(type(client.power).__name__, "PowerClient")
    equal(type(client.again).__name__, "ProbeClient")
    equal(client.power.description, "Supply of the bench")
    equal(client.probe.methods_description, {"say": "Speak through the exporter"})
    equal(client.power.labels["jumpstarter.dev/client"], "jumpstarter_driver_power.client.PowerClient")
    equal([client.rack.inner.name, client.again.name], ["inner", "again"])
    assert client.group.lines.inner.say("through a reference") == "said through a reference"
    assert client.again.call("add", 1) == 3


# calls

VALUES: list[Any] = [
    None,
    True,
    7,
    -3.5,
    2**53,
    "",
    "grüße \x00 \U0001f600",
    [],
    [1, [2, [3, None]], "x"],
    {},
    {"a": {"b": [1, {"c": False}]}, "": 0, "ключ": "значение"},
]

RESULTS: dict[str, Any] = {
    "none": None,
    "true": True,
    "int": 7,
    "negative": -3,
    "float": 1.5,
    "text": "grüße \U0001f600",
    "list": [1, "two", None, [True]],
    "tuple": [1, 2],
    "set": [5],
    "dict": {"b": 1, "a": {"c": [0.5]}},
    "int keys": {"1": "a"},
    "enum": "low",
    "uuid": "12345678-1234-5678-1234-567812345678",
    "path": "/a/b",
    "decimal": "1.50",
    "datetime": "2020-01-02T03:04:05Z",
    "date": "2020-01-02",
    "timedelta": "PT1M30S",
    "model": {"volts": 5.0, "name": "rail"},
    "dataclass": {"x": 1, "y": 2},
    "bytes": "plain text",
}


@scenario
def calls(client: Any) -> None:
    for value in VALUES:
        for method in ("echo", "echo_async"):
            equal(client.probe.call(method, value), value)
    equal(client.probe.call("add", 40, 2), 42)
    equal(client.probe.call("add", 40), 42)
    equal(client.power.on(), None)
    for kind, expected in RESULTS.items():
        found = client.probe.call("made", kind)
        if not BOTH_OURS:  # between two of ours, values keep their types
            equal(found, expected)


@scenario
def calls_in_parallel(client: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        equal(list(pool.map(partial(client.probe.call, "echo"), range(300))), list(range(300)))

    async def at_once() -> list[Any]:
        results: dict[int, Any] = {}

        async def one(n: int) -> None:
            results[n] = await client.probe.call_async("echo_async", n)

        async with anyio.create_task_group() as tasks:
            for n in range(100):
                tasks.start_soon(one, n)
        return [results[n] for n in range(100)]

    equal(client.portal.call(at_once), list(range(100)))


@scenario
def streamed_calls(client: Any) -> None:
    items = [{"number": i, "text": f"item {i}"} for i in range(500)]
    equal(list(client.probe.streamingcall("count", 500)), items)
    equal(list(client.probe.streamingcall("count_async", 500)), list(range(500)))
    equal(list(client.probe.streamingcall("count", 0)), [])
    readings = list(client.power.read())
    equal([(r.voltage, r.current) for r in readings], [(0.0, 0.0), (5.0, 2.0)])
    with contextlib.closing(client.probe.streamingcall("ticks", "left-early")) as ticks:
        equal([next(ticks) for _ in range(3)], [0, 1, 2])
    equal(client.probe.call("echo", 1), 1)

    received: list[Any] = []
    try:
        for item in client.probe.streamingcall("fail_after", 3, "ValueError", "after three"):
            received.append(item)
    except DriverInvalidArgument as e:
        assert "after three" in str(e), e
    else:
        raise AssertionError("no error after the items")
    equal(received, [0, 1, 2])


# errors

FAILURES: dict[str, type[Exception]] = {
    "NotImplementedError": DriverMethodNotImplemented,
    "ValueError": DriverInvalidArgument,
    "TimeoutError": DriverError,
    "ConnectionError": DriverError,
    "OSError": DriverError,
    "RuntimeError": DriverError,
    "KeyError": DriverError,
    "ConfigurationError": DriverError,
}


def error_of(call: Callable[[], Any]) -> DriverError:
    try:
        call()
    except DriverError as e:
        return e
    raise AssertionError("no error")


@scenario
def errors(client: Any) -> None:
    probe = client.probe
    for kind, expected in FAILURES.items():
        text = f"the {kind} of the bench"
        for call in (
            lambda kind=kind, text=text: probe.call("fail", kind, text),
            lambda kind=kind, text=text: probe.call("fail_async", kind, text),
            lambda kind=kind, text=text: list(probe.streamingcall("fail_after", 2, kind, text)),
        ):
            error = error_of(call)
            assert isinstance(error, expected), (kind, type(error))
            assert text in str(error), (kind, str(error))
    assert isinstance(error_of(lambda: probe.call("fail", "ValueError", "x")), ValueError)
    assert isinstance(error_of(lambda: probe.call("fail", "NotImplementedError", "x")), NotImplementedError)
    for method in ("nothing_of_that_name", "hidden", "__init__", "connect", "count"):
        error = error_of(lambda method=method: probe.call(method))
        assert isinstance(error, DriverMethodNotImplemented), (method, type(error))
        assert method in str(error), (method, str(error))
    error_of(lambda: list(probe.streamingcall("say", "x")))  # a call is no streamed call
    error_of(lambda: probe.call("add", 1, 2, 3, 4))
    error_of(lambda: probe.call("made", "unknown"))
    equal(probe.call("echo", "after all this"), "after all this")


# byte streams


@scenario
def byte_streams(client: Any) -> None:
    for driver in (client.echo, client.probe):
        with driver.stream() as stream:
            for data in (b"x", b"y" * 100_000):
                stream.send(data)
                received = b""
                while len(received) < len(data):
                    received += stream.receive()
                equal(received, data)

    async def whole() -> None:
        async with client.probe.stream_async("connect") as stream:
            equal(stream.extra(MetadataStreamAttributes.metadata)["bench"], "interop")
        async with client.probe.stream_async("digest") as stream:
            data, digest = os.urandom(64 * 1024), hashlib.sha256()
            for _ in range(128):
                await stream.send(data)
                digest.update(data)
            await stream.send_eof()
            equal((await stream.receive()).decode(), f"{8 * MIB} {digest.hexdigest()}")
            try:
                await stream.receive()
            except anyio.EndOfStream:
                return
            raise AssertionError("no end after the answer")

    client.portal.call(whole)


@scenario
def many_byte_streams(client: Any) -> None:
    async def one(number: int) -> None:
        text = f"stream {number}".encode()
        async with client.echo.stream_async("connect") as stream:
            for _ in range(20):
                await stream.send(text)
                received = b""
                while len(received) < len(text):
                    received += await stream.receive()
                equal(received, text)

    async def all_of_them() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number)

    def opened_and_closed(number: int) -> None:
        with client.echo.stream() as stream:
            stream.send(b"x")
            equal(stream.receive(), b"x")

    client.portal.call(all_of_them)
    with ThreadPoolExecutor(8) as threads:
        for _ in threads.map(opened_and_closed, range(400)):  # more than the exporter allows at a time
            pass


@scenario
def refused_byte_stream(client: Any) -> None:
    async def refused(method: str) -> str:
        try:
            async with client.probe.stream_async(method) as stream:
                await stream.receive()
        except BaseException as e:  # noqa: BLE001 an error, or a group of them
            return text_of(e)
        raise AssertionError("it opened")

    assert "nobody is at home" in client.portal.call(refused, "refused")
    assert "no_such_stream" in client.portal.call(refused, "no_such_stream")
    equal(client.probe.call("echo", 1), 1)


def text_of(error: BaseException | None) -> str:
    """The text of an error and of what is behind or inside it."""
    if error is None:
        return ""
    inside: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return " ".join([str(error), repr(error), text_of(error.__cause__), *(text_of(e) for e in inside)])


# files


class Offer(ObjectStream[bytes]):
    """A file at the client: what it gives, and what it gets."""

    def __init__(self, blocks: Iterable[bytes] = ()) -> None:
        self._blocks = iter(blocks)
        self.received = bytearray()

    async def receive(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        for block in self._blocks:
            return block
        raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        self.received += item

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def blocks_of(data: bytes, size: int = 64 * 1024) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


PATTERN = bytes(range(256)) * 256


def expected_download(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


async def offered(client: Any, offer: Offer, encoding: str | None, method: str, *args: Any) -> Any:
    options = {"content_encoding": encoding} if encoding else {}
    with anyio.fail_after(60):
        async with client.resource_async(offer, **options) as handle:
            return await client.call_async(method, handle, *args)


@scenario
def resources(client: Any) -> None:
    data = os.urandom(3 * MIB + 17)
    answer = client.portal.call(offered, client.probe, Offer(blocks_of(data)), None, "upload")
    equal(answer, f"{len(data)} {hashlib.sha256(data).hexdigest()}")
    answer = client.portal.call(offered, client.probe, Offer(), None, "upload")
    equal(answer, f"0 {hashlib.sha256().hexdigest()}")
    offer = Offer()
    client.portal.call(offered, client.probe, offer, None, "download", 3 * MIB + 17)
    assert bytes(offer.received) == expected_download(3 * MIB + 17)

    async def a_small_one(limiter: anyio.CapacityLimiter) -> None:
        async with limiter:
            offer = Offer()
            await offered(client.probe, offer, None, "download", 100)
            equal(bytes(offer.received), PATTERN[:100])

    async def many_small_ones() -> None:
        limiter = anyio.CapacityLimiter(10)
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(a_small_one, limiter)

    client.portal.call(many_small_ones)


ENCODERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "xz": (lzma.compress, lzma.decompress),
    "bz2": (bz2.compress, bz2.decompress),
}

try:
    from backports import zstd

    ENCODERS["zstd"] = (zstd.compress, zstd.decompress)
except ImportError:
    zstd = None


@scenario
def encoded_resources(client: Any) -> str | None:
    if "content_encoding" not in inspect.signature(client.resource_async).parameters:
        return "- this client offers plain bytes only"
    data = os.urandom(100_000) + bytes(MIB)
    for encoding, (encode, decode) in ENCODERS.items():
        offer = Offer(blocks_of(encode(data)))
        answer = client.portal.call(offered, client.probe, offer, encoding, "upload")
        equal((encoding, answer), (encoding, f"{len(data)} {hashlib.sha256(data).hexdigest()}"))
        if PUBLIC_EXPORTER:
            continue
        offer = Offer()
        client.portal.call(offered, client.probe, offer, encoding, "download", 200_000)
        assert decode(bytes(offer.received)) == expected_download(200_000), encoding
    if PUBLIC_EXPORTER:
        return f"{', '.join(ENCODERS)}; uploads only: the public exporter does not finish what it compresses"
    return ", ".join(ENCODERS)


# logs, status, sessions


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, record.getMessage()))

    def wait_for(self, text: str, name: str) -> None:
        deadline = time.monotonic() + 20
        while not any(n == name and text in line for n, line in self.lines):
            assert time.monotonic() < deadline, (text, self.lines[-20:])
            time.sleep(0.02)


@contextlib.contextmanager
def exporters_log(client: Any):
    lines = Lines()
    logging.getLogger().addHandler(lines)
    logging.getLogger().setLevel(logging.INFO)
    try:
        with client.log_stream():
            yield lines
    finally:
        logging.getLogger().removeHandler(lines)


@scenario
def logs_and_hooks(client: Any) -> str | None:
    with exporters_log(client) as lines:
        client.probe.say("into the log")
        lines.wait_for("said into the log", "exporter:driver")
        if PUBLIC_EXPORTER and TRANSPORT == "unix":
            return "no hooks: `jmp shell` of the public release runs none for a configuration of its own"
        lines.wait_for("before hook was here", "exporter:beforeLease")
    assert (Path(os.environ["INTEROP_FOLDER"]) / "before").exists()
    return None


@scenario
def status(client: Any) -> None:
    equal(client.portal.call(client.get_status_async), ExporterStatus.LEASE_READY)
    client.portal.call(client.check_exporter_status)


# sizes and times


@scenario
def large_messages(client: Any) -> str:
    text = "x" * (3 * MIB)
    assert client.probe.call("echo", text) == text
    error = error_of(lambda: client.probe.call("echo", "x" * (5 * MIB)))
    assert len(str(error)) < 5000
    equal(client.probe.call("echo", "after that"), "after that")

    async def in_one_piece(size: int) -> None:
        data = os.urandom(size)
        async with client.probe.stream_async("digest") as stream:
            await stream.send(data)
            await stream.send_eof()
            equal((await stream.receive()).decode(), f"{size} {hashlib.sha256(data).hexdigest()}")

    client.portal.call(in_one_piece, 3 * MIB)
    if CLIENT == OURS:
        client.portal.call(in_one_piece, 9 * MIB)
        return ""
    return "9 MiB in one piece: the public client does not split what it sends"


@scenario
def end_of_session(client: Any) -> str:
    """Ending a session that nobody holds changes nothing for others; the last thing that a client does."""
    ended = client.portal.call(client.end_session_async)
    return f"ended: {ended}"


# runs


def connected() -> contextlib.AbstractContextManager[Any]:
    """The client of the exporter that the environment names."""
    return env()


def run(results: Path, names: list[str]) -> None:
    chosen = [one for one in SCENARIOS if not names or one.__name__ in names]
    with results.open("a") as file, connected() as client:
        for one in chosen:
            started = time.monotonic()
            timer = threading.Timer(90, _stuck, (one.__name__, file))
            timer.daemon = True
            timer.start()
            try:
                remark, outcome = one(client) or "", "passed"
                if remark.startswith("-"):
                    remark, outcome = remark[1:].strip(), "none"
            except BaseException:  # noqa: BLE001 also those of event loops
                remark, outcome = traceback.format_exc(), "failed"
            timer.cancel()
            _write(file, one.__name__, outcome, remark, time.monotonic() - started)


def _write(file: Any, name: str, outcome: str, remark: str, seconds: float) -> None:
    file.write(json.dumps({"name": name, "outcome": outcome, "remark": remark, "seconds": round(seconds, 2)}) + "\n")
    file.flush()


def _stuck(name: str, file: Any) -> None:
    import faulthandler

    faulthandler.dump_traceback(all_threads=True)
    _write(file, name, "failed", "did not end within 90 s", 90)
    os._exit(1)


def idle(results: Path, seconds: float) -> None:
    """A client that pings as often as the public one allows, and is not thrown out for it."""
    with connected() as client:
        equal(client.probe.call("echo", 1), 1)
        ended = threading.Event()

        async def open_stream() -> AsyncGenerator[None]:
            async with client.probe.stream_async("connect") as stream:
                yield
                await stream.send(b"still here")
                equal(await stream.receive(), b"still here")

        stream = contextlib.asynccontextmanager(open_stream)()
        with client.portal.wrap_async_context_manager(stream):
            ended.wait(seconds)
            equal(client.probe.call("echo", 2), 2)
    with results.open("a") as file:
        _write(file, "keepalive", "passed", f"idle for {seconds:g} s", seconds)


async def _everything(client: Any, then: Callable[[Any], Any]) -> None:
    async with client.probe.stream_async("connect") as stream, anyio.create_task_group() as tasks:
        await stream.send(b"hello")
        await stream.receive()
        started = anyio.Event()

        async def follow() -> None:
            async for _ in client.probe.streamingcall_async("ticks", "ticks-ended"):
                started.set()

        tasks.start_soon(follow)
        await started.wait()
        sys.stdout.write("held\n")
        sys.stdout.flush()
        await then(stream)


async def _forever(_: Any) -> None:
    await anyio.sleep_forever()


async def _one_more(stream: Any) -> None:
    await stream.receive()


def hold() -> None:
    with connected() as client:
        client.portal.call(_everything, client, _forever)


def victim(results: Path) -> None:
    """The exporter's end is an error, and soon."""
    started = time.monotonic()
    with results.open("a") as file, connected() as client:
        try:
            client.portal.call(_everything, client, _one_more)
        except BaseException as e:  # noqa: BLE001 an exception group, or what is in it
            seconds = time.monotonic() - started
            _write(file, "lost_exporter", "passed", f"{type(e).__name__}: {text_of(e)[:200]}", seconds)
        else:
            _write(file, "lost_exporter", "failed", "no error", time.monotonic() - started)
        os._exit(0)  # what else is open may wait for the exporter that is gone


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--idle", path, seconds]:
            idle(Path(path), float(seconds))
        case ["--hold"]:
            hold()
        case ["--victim", path]:
            victim(Path(path))
        case [path, *chosen_names]:
            run(Path(path), chosen_names)
        case _:
            sys.exit(__doc__)
