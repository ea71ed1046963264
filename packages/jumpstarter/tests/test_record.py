"""The record of a session: what is in it, what never is, how large it gets, and what it costs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from anyio.abc import ObjectStream
from anyio.streams.stapled import StapledObjectStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jumpstarter.client import DriverClient
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint, Stub
from jumpstarter.client.core import DriverError
from jumpstarter.client.tree import Policy
from jumpstarter.common import ExporterStatus
from jumpstarter.common.records import Entry, Record
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.exporter import Session
from jumpstarter.exporter.record import Recorder
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
        self.logger.info("waits")
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
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.recorder.event("marker", number=marker)
            found = read(self.directory)
            if any(entry.get("number") == marker for entry in found):
                return [entry for entry in found if entry["kind"] in (kind, None) or kind is None]
            time.sleep(0.01)
        raise AssertionError("the record is not written")

    def wait_for(self, kind: str, count: int) -> list[Entry]:
        """The entries of a kind once there are so many: a stream ends after its client has left."""
        deadline = time.monotonic() + 60
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
def on_record(directory: Path, root: Driver | None = None, *secrets: str, **options: Any) -> Generator[Run]:
    root = root or Board(children={"sub": Board()})
    recorder = Recorder("lab", directory=directory, secrets=[*secrets_of(root), *secrets], **options)
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
    with run.client.stub.endpoint.open(grpc) as channel:
        call = Stub(channel).DriverCall.future(run_request(run.client, "wait"))
        run.wait_for("log", 1)
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
def test_a_secret_is_never_in_the_file(tmp_path: Path, secret: str) -> None:
    directory = tmp_path / os.urandom(8).hex()
    token = secret.encode().hex()
    with on_record(directory, Board(pin=SecretStr(f"pin{secret}")), f"pass{secret}") as run:
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
        by_name: list[dict[str, Any]] = [
            {"user": "me", "secret": secret},
            {"user": "me", "secret": SecretStr(secret)},
            {"usr": "me", "secrt": secret},  # mistyped
            {"user": secret, "secret": "the-other-way-round"},
        ]
        for arguments in by_name:
            with suppress(DriverError):
                client.call("login", **arguments)
        with suppress(DriverError):
            client.call("register", Account("me", SecretStr(secret)))
        run.recorder.event("hook", output=f"login with pass{secret}, {token=}")
        with suppress(DriverError):
            client.call("fail", f"Authorization: Bearer {token}; pin{secret}; pass{secret}")
        assert len(run.entries("call")) == 14
    written = everything(directory)
    for form in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], token}:
        assert form.encode() not in written, written[max(0, written.find(form.encode()) - 200) :][:400]


def test_a_secret_that_is_cut_leaves_no_part_of_itself(tmp_path: Path) -> None:
    secret = "".join(chr(ord("a") + i % 26) + str(i % 7) for i in range(200))
    with on_record(tmp_path, None, secret) as run:
        for length in range(1500, 2600, 97):
            run.recorder.event("hook", output="-" * length + secret)
        run.entries()
    assert secret[:8].encode() not in everything(tmp_path)


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


# what it costs


def test_a_flood_of_log_does_not_hold_up_who_logs(run: Run) -> None:
    logger = logging.getLogger("driver.Flood")
    logger.propagate = True
    for number in range(20_000):
        run.recorder.log(f"line {number}", level="INFO")
    assert len(run.entries("log")) > 0
    run.client.call("on")


def test_a_directory_that_cannot_be_made_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with on_record(tmp_path / "file" / "records") as run:
        for _ in range(10):
            run.client.call("on")
            time.sleep(0.03)
    assert sum("cannot be written" in record.getMessage() for record in caplog.records) == 1
    assert "Not a directory" in caplog.text


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


def test_two_sessions_in_one_process_do_not_see_each_others_drivers(tmp_path: Path) -> None:
    with on_record(tmp_path / "one", Board()) as one, on_record(tmp_path / "other", Board()) as other:
        one.client.call("on")
        with pytest.raises(DriverError):
            other.client.call("fail", "mine")
        assert [entry["message"] for entry in one.entries("log") if entry["driver"] or entry["operation"]] == ["on"]
        assert not [entry for entry in other.entries("log") if entry["message"] == "on"]
