"""The record of a session: what is in it, what never is, how large it gets, and what it costs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from anyio.abc import ObjectStream
from anyio.streams.stapled import StapledObjectStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jumpstarter.client import DriverClient
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.core import DriverError
from jumpstarter.client.tree import Policy
from jumpstarter.common import ExporterStatus
from jumpstarter.common.limits import RECORD_QUEUE
from jumpstarter.common.records import Entry, Record
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.exporter import Session
from jumpstarter.exporter import recordfile as recordfile_module
from jumpstarter.exporter.record import Recorder
from jumpstarter.exporter.recordfile import RecordFile, prune
from jumpstarter.exporter.redaction import secrets_of
from jumpstarter.streams.common import create_memory_stream
from pydantic import SecretStr


@dataclass
class Account:
    user: str
    password: SecretStr


@dataclass(kw_only=True)
class Board(Driver):
    """Has a method of every kind."""

    pin: SecretStr = field(default_factory=lambda: SecretStr("4711-0815"))

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    @export
    def on(self, seconds: float = 0, note: Any = None) -> None:
        self.logger.info("on", extra={"channel": 2, "token": "tok-abcdef"})

    @export
    def fail(self, text: str) -> None:
        raise OSError(text)

    @export
    def count(self, limit: int) -> Generator[int]:
        yield from range(limit)

    @export
    async def wait(self) -> None:
        await asyncio.sleep(60)

    @export
    def wait_in_worker(self, seconds: float) -> None:
        time.sleep(seconds)

    @export
    def login(self, user: str, secret: SecretStr) -> None:
        """Does all the wrong things with a secret."""
        self.logger.info("secret of %s is %s", user, secret.get_secret_value())
        raise ValueError(f"no user {user} with {secret.get_secret_value()!r}")

    @export
    def register(self, account: Account) -> None:
        raise ValueError(f"cannot register {account.password.get_secret_value()}")

    @export
    def fetch(self, url: str) -> None:
        self.logger.warning("cannot fetch %s", url)
        raise OSError(f"{url}: connection refused")

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        ours, theirs = create_memory_stream()
        async with ours, theirs:
            yield StapledObjectStream(ours, theirs)

    @exportstream
    @asynccontextmanager
    async def broken(self) -> AsyncGenerator[ObjectStream[bytes]]:
        raise OSError("no such port")
        yield


class Run:
    """A session on record, and a client of it."""

    def __init__(self, client: DriverClient, recorder: Recorder, directory: Path) -> None:
        self.client, self.recorder, self.directory = client, recorder, directory

    def entries(self, kind: str | None = None) -> list[Entry]:
        """What is on record, everything until now."""
        marker = time.monotonic_ns()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            self.recorder.event("marker", number=marker)
            found = read(self.directory)
            if any(entry.get("number") == marker for entry in found):
                return [entry for entry in found if entry["kind"] in (kind, None) or kind is None]
            time.sleep(0.01)
        raise AssertionError("the record is not written")

    def wait_for(self, kind: str, count: int) -> list[Entry]:
        """The entries of a kind once there are so many: a stream ends after its client has left."""
        deadline = time.monotonic() + 5
        while len(found := self.entries(kind)) < count:
            assert time.monotonic() < deadline, found
        return found


def read(directory: Path) -> list[Entry]:
    """All entries of all records."""
    return [entry for path in sorted(directory.glob("*.jsonl")) for entry in Record(path).entries()]


def everything(directory: Path) -> bytes:
    """The bytes of all records."""
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


@contextmanager
def on_record(directory: Path, root: Driver | None = None, **options: Any) -> Generator[Run]:
    root = root or Board(children={"sub": Board()})
    recorder = Recorder("lab", directory=directory, secrets=secrets_of(root), **options)
    logging.getLogger().setLevel(logging.INFO)
    try:
        with Session(root_device=root, record=recorder) as session:
            recorder.begin(session=session.uuid, user="somebody")
            session.update_status(ExporterStatus.LEASE_READY)
            with session.serve_unix() as path, connect(Endpoint(str(path)), Policy(unsafe=True)) as client:
                yield Run(client, recorder, directory)
        recorder.end("the client left")
    finally:
        recorder.close()
        logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture
def run(tmp_path: Path) -> Generator[Run]:
    with on_record(tmp_path / "records") as run:
        yield run


# what is on record


def test_a_call_is_on_record_with_its_arguments_time_and_outcome(run: Run) -> None:
    run.client.call("on", 1.5, {"why": ["test", True]})
    run.client.children["sub"].call("on")
    with pytest.raises(DriverError):
        run.client.children["sub"].call("fail", "cable is loose")
    [first, second, third] = run.entries("call")
    assert (first["driver"], first["method"], first["outcome"]) == ("", "on", "ok")
    assert first["args"] == {"seconds": 1.5, "note": {"why": ["test", True]}}
    assert 0 < first["seconds"] < 5
    assert (second["driver"], second["method"], "args" in second) == ("sub", "on", False)
    assert (third["outcome"], third["error"]) == ("failed", "OSError: cable is loose")
    assert first["mono"] < second["mono"] < third["mono"] < time.monotonic()
    assert first["time"] < second["time"] < third["time"]


def test_an_argument_that_does_not_fit_is_on_record_as_a_failed_call(run: Run) -> None:
    with pytest.raises(DriverError):
        run.client.call("on", "soon")
    [call] = run.entries("call")
    assert (call["args"], call["outcome"]) == ({"seconds": "soon"}, "failed")
    assert "seconds" in call["error"]


def test_a_streamed_call_is_on_record_with_the_number_of_its_items(run: Run) -> None:
    assert len(list(run.client.streamingcall("count", 70))) == 70
    [call] = run.entries("call")
    assert (call["method"], call["items"], call["outcome"]) == ("count", 70, "ok")


def test_a_call_whose_client_goes_is_on_record_as_cancelled(run: Run) -> None:
    call = run.client.stub.blocking.DriverCall.future(run_request(run.client, "wait"))
    time.sleep(0.1)
    call.cancel()
    [entry] = run.wait_for("call", 1)
    assert (entry["method"], entry["outcome"]) == ("wait", "cancelled")


def run_request(client: DriverClient, method: str) -> Any:
    from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

    return pb.DriverCallRequest(uuid=str(client.uuid), method=method)


def test_a_long_call_is_on_record_while_it_runs(run: Run) -> None:
    thread = threading.Thread(target=run.client.call, args=("wait_in_worker", 2.5))
    thread.start()
    [running] = run.wait_for("call", 1)
    assert (running["method"], running["outcome"], running["args"]) == ("wait_in_worker", "running", {"seconds": 2.5})
    thread.join()
    [_, ended] = run.wait_for("call", 2)
    assert (ended["id"], ended["mono"], ended["outcome"]) == (running["id"], running["mono"], "ok")


def test_a_byte_stream_is_on_record_with_the_bytes_each_way(run: Run) -> None:
    with run.client.stream() as stream:
        stream.send(b"x" * 3_000_000)
        received = 0
        while received < 3_000_000:
            received += len(stream.receive())
    [opened, closed] = run.wait_for("stream", 2)
    assert (opened["event"], closed["event"], opened["id"]) == ("open", "close", closed["id"])
    assert (closed["received"], closed["sent"], closed["outcome"]) == (3_000_000, 3_000_000, "ok")
    assert opened["mono"] < closed["mono"]


def test_a_stream_that_does_not_open_is_on_record_with_the_reason(run: Run) -> None:
    with pytest.raises(DriverError), run.client.stream("broken"):
        pass
    [_, closed] = run.wait_for("stream", 2)
    assert (closed["outcome"], closed["error"]) == ("failed", "OSError: no such port")


def test_the_log_is_on_record_and_names_who_wrote_it(run: Run) -> None:
    run.client.children["sub"].call("on")
    logging.getLogger("elsewhere").warning("something else")
    [line, other] = [entry for entry in run.entries("log") if entry["message"] in ("on", "something else")]
    assert (line["level"], line["driver"], line["operation"], line["source"]) == ("INFO", "sub", "on", "driver")
    assert line["fields"] == {"channel": "2", "token": "***"}
    assert (other["driver"], other["operation"], other["source"]) == ("", "", "system")


def test_other_events_are_on_record_as_they_are_told(run: Run) -> None:
    run.recorder.event("state", driver="sub", before="ready", state="absent", reason="unplugged", tries=[1, 2.5, None])
    [state] = run.entries("state")
    assert (state["driver"], state["state"], state["tries"]) == ("sub", "absent", [1, 2.5, None])


def test_what_cannot_be_shown_takes_nothing_else_along(run: Run) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ZeroDivisionError

    run.recorder.event("odd", value=Odd())
    run.recorder.event("state", value=float("inf"))
    assert [entry["why"] for entry in run.entries("lost")] == ["odd: ZeroDivisionError"]
    assert run.entries("state")[0]["value"] == "inf"


def test_the_end_of_a_session_counts_what_was_done(tmp_path: Path) -> None:
    with on_record(tmp_path) as run:
        run.client.call("on")
        with pytest.raises(DriverError):
            run.client.call("fail", "")
        with run.client.stream():
            pass
        run.wait_for("stream", 2)
    [begin, end] = [entry for entry in read(tmp_path) if entry["kind"] == "session"]
    assert (begin["event"], begin["user"]) == ("begin", "somebody")
    assert (end["event"], end["cause"]) == ("end", "the client left")
    assert (end["calls"], end["failed"], end["streams"], end["lost"]) == (2, 1, 1, 0)
    [path] = tmp_path.iterdir()
    assert Record(path).end == end
    assert not Record(path).is_live


def test_each_session_has_a_record_and_what_comes_between_belongs_to_both(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path)
    for number in range(3):
        recorder.event("hook", number=number)
        recorder.begin(user=f"user{number}")
        recorder.end()
    recorder.close()
    found = [list(Record(path).entries()) for path in tmp_path.iterdir()]
    records = {Record(path).begin["user"]: list(Record(path).entries()) for path in tmp_path.iterdir()}
    assert sorted(records) == ["user0", "user1", "user2"], found
    for number in range(3):
        _, before, begin, end, *after = records[f"user{number}"]
        assert (before["number"], begin["event"], end["event"]) == (number, "begin", "end")
        assert [entry["number"] for entry in after] == [number + 1][: 2 - number]


def test_a_session_without_a_place_for_records_keeps_none(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.begin(user="x")
    with recorder.call("a", "b", Board.on, [], {}):
        pass
    recorder.end()
    recorder.close()
    assert threading.active_count() == len(threading.enumerate())
    assert not [thread for thread in threading.enumerate() if thread.name == "record"]


# what never is


def test_a_record_is_for_its_owner_only(run: Run) -> None:
    run.entries()
    [path] = run.directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.directory.stat().st_mode) == 0o700


SECRETS = st.text(st.characters(codec="utf-8", min_codepoint=33), min_size=8, max_size=60).filter(
    lambda text: len(set(text)) > 4
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=SECRETS)
@pytest.mark.timeout(120)
def test_a_secret_is_never_in_the_file(tmp_path: Path, secret: str) -> None:
    directory = tmp_path / os.urandom(8).hex()
    token = secret.encode().hex()
    with on_record(directory, Board(pin=SecretStr(f"pin{secret}"))) as run:
        run.recorder.secrets.pin(f"pass{secret}")
        client = run.client
        for method, *args in (
            ("login", "me", secret),
            ("login", secret),  # forgot the user
            ("login", "me", secret, "and more"),
            ("login", "me", {"nested": [secret]}),
            ("register", {"user": "me", "password": secret}),
            ("fetch", f"https://me:{token}@host/path?access_token={token}"),
            ("fetch", f"{'x' * 2100}pin{secret}"),
            ("on", 0, {"api_key": token, "url": f"https://{token}@host/", "note": f"pass{secret}"}),
        ):
            with suppress(DriverError):
                client.call(method, *args)
        run.recorder.event("hook", output=f"login with pass{secret}, {token=}")
        with suppress(DriverError):
            client.call("fail", f"Authorization: Bearer {token}; pin{secret}; pass{secret}")
        assert len(run.entries("call")) == 9
    written = everything(directory)
    for form in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], token}:
        assert form.encode() not in written, written[max(0, written.find(form.encode()) - 200) :][:400]


def test_a_secret_that_is_cut_leaves_no_part_of_itself(run: Run) -> None:
    secret = "".join(chr(ord("a") + i % 26) + str(i % 7) for i in range(200))
    run.recorder.secrets.pin(secret)
    for length in range(1500, 2600, 97):
        run.recorder.event("hook", output="-" * length + secret)
    run.entries()
    assert secret[:8].encode() not in everything(run.directory)


def test_a_signed_url_of_a_file_is_shown_without_its_signature(run: Run) -> None:
    handle = {
        "kind": "presigned_request",
        "url": "https://store/images/a.img?X-Amz-Signature=0123456789abcdef",
        "headers": {"Authorization": "0123456789abcdef"},
        "method": "GET",
    }
    run.client.call("on", 0, handle)
    [call] = run.entries("call")
    assert call["args"]["note"] == "<file https://store/images/a.img>"
    assert b"0123456789abcdef" not in everything(run.directory)


def test_large_arguments_are_shortened(run: Run) -> None:
    run.client.call("on", 0, "x" * 1_000_000)
    run.client.call("on", 0, [["y" * 15] * 1000] * 100)
    run.client.call("on", 0, {f"k{i}": i for i in range(1000)})
    calls = run.entries("call")
    for call in calls:
        assert len(json.dumps(call)) < 5000, call
    assert calls[0]["args"]["note"].startswith("x" * 200)
    assert "more" in json.dumps(calls[1]["args"], ensure_ascii=False)
    assert calls[2]["args"]["note"]["…"] == "984 more"


# how large it gets


def test_a_flood_of_entries_is_cut_to_size_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path, size=64 * 1024)
    recorder.begin(user="x")
    total = 0
    for _ in range(20):
        for _ in range(200):
            recorder.event("flood", number=total)
            total += 1
        time.sleep(0.03)
    recorder.end()
    recorder.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 66 * 1024
    [path] = tmp_path.glob("*.jsonl")
    found = list(Record(path).entries())
    numbers = [entry["number"] for entry in found if entry["kind"] == "flood"]
    assert numbers == list(range(total - len(numbers), total))  # the newest ones, none missing between
    begin, end = Record(path).begin, Record(path).end
    assert end is not None
    assert begin["user"] == "x"
    assert abs(end["lost"] + len(numbers) - total) <= 1  # the session's begin went, too


def test_what_comes_faster_than_it_can_be_written_is_counted(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path)
    recorder.begin(user="x")
    for number in range(10 * RECORD_QUEUE):
        recorder.event("flood", number=number)
    recorder.end()
    recorder.close()
    found = read(tmp_path)
    there = sum(entry["kind"] == "flood" for entry in found)
    missing = sum(entry["entries"] for entry in found if entry["kind"] == "lost")
    assert there >= RECORD_QUEUE - 1
    assert there + missing == 10 * RECORD_QUEUE
    assert found[-1]["event"] == "end"
    assert found[-1]["lost"] == missing


def test_the_oldest_records_make_room_but_not_those_that_are_written(tmp_path: Path) -> None:
    recorders = [Recorder("lab", directory=tmp_path) for _ in range(3)]
    recorders[0].begin(user="goes on")
    time.sleep(0.1)  # records are in the order in which they begin
    for recorder in recorders[1:]:
        recorder.begin()
        recorder.end()
        recorder.close()
    deadline = time.monotonic() + 5
    while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    prune(tmp_path, keep=1)
    [left] = tmp_path.iterdir()
    assert Record(left).begin["user"] == "goes on"
    assert Record(left).is_live
    recorders[0].close()
    prune(tmp_path, keep=0)
    assert not list(tmp_path.iterdir())


def test_a_flood_of_log_does_not_hold_up_who_logs(run: Run) -> None:
    logger = logging.getLogger("driver.Flood")
    logger.propagate = True
    for number in range(20_000):
        run.recorder.log(f"line {number}", level="INFO")
    assert len(run.entries("log")) > 0
    run.client.call("on")


# what the disk does

FULL = """
import logging, resource, sys, time
from pathlib import Path
from jumpstarter.exporter.record import Recorder
from jumpstarter.exporter import recordfile
recordfile.RETRY = 0.2
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
recorder = Recorder("lab", directory=Path(sys.argv[1]))
recorder.begin(user="x")
def calls(count):
    for number in range(count):
        with recorder.call("power", "on", calls, [1.0], {}):
            pass
        time.sleep(0.0005)
calls(2000)
print("calls went on")
time.sleep(0.3)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
calls(100)
time.sleep(0.3)
calls(1)
recorder.end()
recorder.close()
"""


def test_a_full_disk_is_named_once_and_calls_go_on(tmp_path: Path) -> None:
    directory = tmp_path / "records"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(directory)], capture_output=True, text=True, timeout=15, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line for line in said if line.startswith("LOG")] == [
        f"LOG the session's record cannot be written in {directory}: File too large; devices work on, entries are lost"
    ]
    assert "calls went on" in said
    [path] = directory.iterdir()
    for line in path.read_bytes().splitlines():
        json.loads(line)  # no half line in the middle
    found = list(Record(path).entries())
    there = sum(entry["kind"] == "call" for entry in found)
    end = Record(path).end
    assert end is not None
    assert end["lost"] > 100
    assert there + end["lost"] == 2101
    assert found[0]["lost"] == 0


def test_a_directory_that_cannot_be_made_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with on_record(tmp_path / "file" / "records") as run:
        for _ in range(10):
            run.client.call("on")
            time.sleep(0.03)
    assert sum("cannot be written" in record.getMessage() for record in caplog.records) == 1
    assert "Not a directory" in caplog.text


def test_a_record_that_somebody_removes_is_no_trouble(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path, size=8192)
    recorder.begin(user="x")
    for number in range(300):
        recorder.event("flood", number=number)
        if number in (100, 200):
            time.sleep(0.1)
            for path in tmp_path.iterdir():
                path.unlink()
    recorder.end()
    recorder.close()


def test_a_half_last_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "20260101T000000Z-00000000.jsonl"
    path.write_bytes(b'{"kind":"record","mono":1.0}\n{"kind":"call","mono":2.0}\n{"kind":"ca')
    assert [entry["kind"] for entry in Record(path).entries()] == ["record", "call"]
    assert [entry and entry["kind"] for entry in Record(path).follow()] == ["record", "call"]
    assert Record(path).end is None
    path.write_bytes(b'{"kind":"record"}\n\xff\xfe garbage\n[1]\n{"kind":"call"}\n')
    assert [entry["kind"] for entry in Record(path).entries()] == ["record", "call"]


def test_who_follows_a_record_sees_every_entry_across_its_parts(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path, size=64 * 1024)
    recorder.begin(user="x")
    seen: list[int] = []

    def follow() -> None:
        deadline = time.monotonic() + 10
        while not (paths := list(tmp_path.glob("*.jsonl"))) and time.monotonic() < deadline:
            time.sleep(0.01)
        for entry in Record(paths[0]).follow():
            if entry is not None and entry["kind"] == "flood":
                seen.append(entry["number"])

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(1000):
        recorder.event("flood", number=number)
        time.sleep(0.001)
    recorder.end()
    recorder.close()
    thread.join(10)
    assert not thread.is_alive()
    assert seen == list(range(1000))


def test_parts_are_turned_at_the_size_that_was_given(tmp_path: Path) -> None:
    failed: list[OSError] = []
    file = RecordFile(tmp_path, "x", lambda lost: [b"head %d\n" % lost], 2000, failed.append)
    for number in range(500):
        file.write([b"line %d\n" % number])
        assert file.path.stat().st_size <= 1000
    file.close()
    assert not failed
    earlier = (tmp_path / "x.jsonl.1").read_bytes()
    whole = earlier + file.path.read_bytes()
    lines = [line for line in whole.splitlines() if line.startswith(b"line")]
    assert lines == [b"line %d" % number for number in range(500 - len(lines), 500)]
    assert file.lost == 500 - len(lines)
    assert recordfile_module.RETRY > 0


# what it costs


def test_recording_a_call_takes_the_event_loop_less_than_five_microseconds(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path)
    recorder.begin(user="x")
    function = Board.on

    def cost(arguments: list[Any]) -> float:
        best = float("inf")
        for _ in range(20):
            started = time.thread_time()
            for _ in range(200):
                with recorder.call("power", "on", function, arguments, {}):
                    pass
            best = min(best, (time.thread_time() - started) / 200)
            time.sleep(0.03)  # the thread that writes is not what is measured
        return best

    assert cost([]) < 5e-6
    assert cost([1.0, "a note"]) < 5e-6
    recorder.close()
    assert sum(entry["kind"] == "call" for entry in read(tmp_path)) == 8000


# the log that clients see


@pytest.mark.anyio
async def test_a_line_of_log_names_driver_type_method_and_fields(tmp_path: Path) -> None:
    from google.protobuf.empty_pb2 import Empty

    root = Board(children={"sub": Board()})
    logging.getLogger().setLevel(logging.INFO)
    async with Session(root_device=root) as session, session.serve_unix_async() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        import grpc
        from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
        from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2_grpc as rpc

        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            stub: Any = rpc.ExporterServiceStub(channel)
            await stub.DriverCall(pb.DriverCallRequest(uuid=str(root.children["sub"].uuid), method="on"))
            root.logger.info("by itself")
            logging.getLogger("jumpstarter.other").info("not of a driver")
            lines: dict[str, Any] = {}
            async for line in stub.LogStream(Empty()):
                lines[line.message] = line
                if line.message == "not of a driver":
                    break
    on, itself, other = lines["on"], lines["by itself"], lines["not of a driver"]
    assert (on.uuid, on.driver_type, on.operation) == (str(root.children["sub"].uuid), "Board", "on")
    assert dict(on.structured_fields) == {"channel": "2", "token": "***"}
    assert (itself.uuid, itself.HasField("operation")) == (str(root.uuid), False)
    assert (other.uuid, other.HasField("driver_type")) == ("", False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_the_level_of_one_driver_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    quiet, chatty = Board(log_level="ERROR"), Board(log_level="DEBUG")
    quiet.logger.warning("not worth it")
    chatty.logger.debug("every detail")
    chatty.logger.getChild("part").debug("of a part")
    assert [record.getMessage() for record in caplog.records] == ["every detail", "of a part"]
    assert {record.name for record in caplog.records} == {"driver.Board", "driver.Board.part"}


def test_a_level_that_is_set_at_the_class_of_drivers_counts_for_all(caplog: pytest.LogCaptureFixture) -> None:
    boards = [Board(), Board(log_level="ERROR")]
    caplog.set_level(logging.DEBUG, "driver.Board")
    for board in boards:
        board.logger.debug("seen")
    assert len(caplog.records) == 2
    logging.disable(logging.CRITICAL)
    try:
        boards[0].logger.critical("not seen")
    finally:
        logging.disable(logging.NOTSET)
    assert len(caplog.records) == 2


def test_two_sessions_in_one_process_do_not_see_each_others_drivers(tmp_path: Path) -> None:
    with on_record(tmp_path / "one", Board()) as one, on_record(tmp_path / "other", Board()) as other:
        one.client.call("on")
        with pytest.raises(DriverError):
            other.client.call("fail", "mine")
        assert [entry["message"] for entry in one.entries("log") if entry["driver"] or entry["operation"]] == ["on"]
        assert not [entry for entry in other.entries("log") if entry["message"] == "on"]
