"""One error, from the driver over the wire to whoever called."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from anyio import BrokenResourceError
from anyio.abc import ObjectStream
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.client import DriverClient
from jumpstarter.client.broken import StreamBroken
from jumpstarter.client.core import DriverError
from jumpstarter.client.errors import (
    CallDeadlineExceeded,
    DeviceAbsent,
    DeviceFaulty,
    DriverBusy,
    DriverInvalidArgument,
    DriverIOError,
    DriverMethodNotImplemented,
    DriverStuck,
    DriverTimeout,
    ExporterNotReady,
    LimitReached,
    NotAllowed,
    error_of,
)
from jumpstarter.common import exceptions
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.common.failures import KINDS, code_for_peer
from jumpstarter.common.groups import ungrouped
from jumpstarter.common.tempfile import TemporaryUnixListener
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.exporter.errors import failure_of
from jumpstarter.exporter.session import Session
from jumpstarter_protocol import jumpstarter_pb2, jumpstarter_pb2_grpc


class Breaking(ObjectStream[bytes]):
    """One item, and then an error."""

    def __init__(self, error: BaseException) -> None:
        self._ends: list[bytes] = [b"first"]
        self._error = error

    async def receive(self) -> bytes:
        if not self._ends:
            raise self._error
        return self._ends.pop()

    async def send(self, item: bytes) -> None: ...

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


class Failing(Driver):
    """Raises what it is given."""

    error: BaseException

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def identity(self) -> str | None:
        return "usb:1-1.4"

    @export
    def fail(self) -> None:
        raise self.error

    @export
    async def fail_async(self) -> None:
        raise self.error

    @export
    def items(self) -> Generator[int]:
        yield 1
        raise self.error

    @export
    def sleep(self) -> None:
        self.started.set()
        self.woken.wait(60)

    @exportstream
    @asynccontextmanager
    async def refused(self) -> AsyncGenerator[ObjectStream[bytes]]:
        raise self.error
        yield

    @exportstream
    @asynccontextmanager
    async def breaks(self) -> AsyncGenerator[ObjectStream[bytes]]:
        yield Breaking(self.error)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.started = threading.Event()
        self.woken = threading.Event()
        self.error = RuntimeError("relay stuck")


@pytest.fixture
def driver() -> Failing:
    return Failing()


@pytest.fixture
def client(driver: Failing) -> Generator[DriverClient]:
    with serve(Failing(children={"relay": driver})) as root:
        try:
            yield root.children["relay"]
        finally:
            driver.woken.set()


def failure(client: DriverClient, method: str = "fail") -> DriverError:
    with pytest.raises(DriverError) as caught:
        client.call(method)
    return caught.value


MISSING = OSError(errno.ENOENT, "No such file or directory", "/dev/ttyUSB0")
TABLE: list[tuple[BaseException, str, str, type[Exception], type[Exception]]] = [
    (ValueError("no channel 9"), "invalid-argument", "INVALID_ARGUMENT", DriverInvalidArgument, ValueError),
    (NotImplementedError("no meter"), "not-implemented", "UNIMPLEMENTED", DriverMethodNotImplemented, DriverError),
    (TimeoutError("no answer in 3 s"), "timeout", "DEADLINE_EXCEEDED", DriverTimeout, TimeoutError),
    (ConnectionError("cable pulled"), "io", "UNKNOWN", DriverIOError, OSError),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "io", "UNKNOWN", DriverIOError, OSError),
    (PermissionError("not ours"), "io", "UNKNOWN", DriverIOError, OSError),
    (MISSING, "io", "UNKNOWN", DriverIOError, OSError),
    (exceptions.FileNotFoundError("no image"), "io", "UNKNOWN", DriverIOError, OSError),
    (RuntimeError("relay stuck"), "failed", "UNKNOWN", DriverError, DriverError),
    (KeyError("volts"), "failed", "UNKNOWN", DriverError, DriverError),
    (exceptions.DeviceAbsentError("no board"), "absent", "UNKNOWN", DeviceAbsent, exceptions.DeviceAbsentError),
    (exceptions.DeviceFaultyError("burnt"), "faulty", "UNKNOWN", DeviceFaulty, exceptions.DeviceFaultyError),
    (exceptions.DriverStuckError("on hangs"), "stuck", "UNKNOWN", DriverStuck, exceptions.DriverStuckError),
    (exceptions.LimitError("64 calls wait"), "limit", "RESOURCE_EXHAUSTED", LimitReached, exceptions.LimitError),
    (exceptions.CallTimeoutError("3 s"), "deadline", "DEADLINE_EXCEEDED", CallDeadlineExceeded, TimeoutError),
    (exceptions.BusyError("held by ann"), "busy", "FAILED_PRECONDITION", DriverBusy, exceptions.BusyError),
    (exceptions.NotReady("offline"), "not-ready", "FAILED_PRECONDITION", ExporterNotReady, DriverError),
    (exceptions.NotAllowedError("observers read"), "not-allowed", "PERMISSION_DENIED", NotAllowed, PermissionError),
    (exceptions.ConfigurationError("no chip"), "configuration", "UNKNOWN", DriverError, DriverError),
    # what a driver raises of the codes that speak of its own process is a failure like any other
    (exceptions.ExporterUnreachableError("lab2"), "failed", "UNKNOWN", DriverError, DriverError),
    (exceptions.ArgumentError("no"), "failed", "UNKNOWN", DriverError, DriverError),
]


@pytest.mark.parametrize(("error", "code", "status", "kind", "also"), TABLE, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("method", ["fail", "fail_async", "items", "refused"])
def test_an_error_arrives_as_its_own_kind(
    driver: Failing,
    client: DriverClient,
    method: str,
    error: BaseException,
    code: str,
    status: str,
    kind: type[Exception],
    also: type[Exception],
) -> None:
    driver.error = error
    with pytest.raises(kind) as caught:
        match method:
            case "items":
                list(client.streamingcall(method))
            case "refused":
                with client.stream(method):
                    pytest.fail("it was opened")
            case _:
                client.call(method)
    found = caught.value
    assert isinstance(found, also)
    assert isinstance(found, DriverError)
    assert type(found) is kind
    assert (found.code, found.driver, found.operation, found.device) == (code, "relay", method, "usb:1-1.4")
    assert str(error) in str(found)
    assert str(found).startswith(f"relay.{method}: ")
    assert "\n" not in str(found)


@pytest.mark.parametrize(("error", "code", "status", "kind", "also"), TABLE, ids=lambda v: type(v).__name__)
def test_other_peers_get_the_status_and_the_text_that_they_know(
    driver: Failing, client: DriverClient, error: BaseException, code: str, status: str, kind: object, also: object
) -> None:
    driver.error = error
    with grpc.insecure_channel(client.stub.endpoint.target) as channel:  # type: ignore[attr-defined]
        stub = jumpstarter_pb2_grpc.ExporterServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as caught:
            stub.DriverCall(jumpstarter_pb2.DriverCallRequest(uuid=str(driver.uuid), method="fail"))
    found: Any = caught.value
    assert found.code().name == status == KINDS[code].status
    assert str(error) in found.details()
    assert not any("traceback" in str(value) for _, value in found.trailing_metadata())


def test_the_hint_says_what_to_do(driver: Failing, client: DriverClient) -> None:
    driver.error = exceptions.DeviceAbsentError("no dutlink with serial c415a913", "check its USB cable")
    found = failure(client)
    assert found.hint == "check its USB cable"
    assert found.reason == "no dutlink with serial c415a913"
    assert str(found) == "relay.fail: no dutlink with serial c415a913; check its USB cable"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MISSING, "check that the device is plugged in and the path is right"),
        (OSError(errno.EBUSY, "Device or resource busy", "/dev/sda"), "stop the other program that uses it"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "is on and serves that port"),
        (KeyError("volts"), "a fault of the driver; JMP_DEBUG=1 shows where"),
        (SystemExit(3), "a fault of the driver"),
        (RuntimeError(), "a fault of the driver"),
    ],
    ids=repr,
)
def test_what_nobody_put_in_words_gets_a_hint(
    driver: Failing, client: DriverClient, error: BaseException, said: str
) -> None:
    driver.error = error
    assert said in failure(client).hint


@pytest.mark.parametrize("error", [OSError("cable pulled; check it"), RuntimeError("relay stuck"), ValueError("9")])
def test_words_of_the_driver_stay_as_they_are(driver: Failing, client: DriverClient, error: BaseException) -> None:
    driver.error = error
    assert str(failure(client)) == f"relay.fail: {error}"


def test_the_causes_are_told_one_after_the_other(driver: Failing, client: DriverClient) -> None:
    driver.error = RuntimeError("cannot switch")
    driver.error.__cause__ = ConnectionError("no answer")
    driver.error.__cause__.__cause__ = OSError(errno.EIO, "Input/output error")
    assert failure(client).causes == (
        "ConnectionError: no answer",
        "OSError: [Errno 5] Input/output error",
    )


def test_causes_in_a_circle_end(driver: Failing, client: DriverClient) -> None:
    driver.error = RuntimeError("a")
    driver.error.__cause__ = RuntimeError("b")
    driver.error.__cause__.__cause__ = driver.error
    assert failure(client).causes == ("RuntimeError: b",)


def test_a_cause_of_our_own_errors_is_in_the_text_as_well(driver: Failing, client: DriverClient) -> None:
    driver.error = exceptions.DeviceFaultyError("no voltage", "replace the fuse")
    driver.error.__cause__ = OSError("ADC is silent")
    assert str(failure(client)) == "relay.fail: no voltage (Caused by: ADC is silent); replace the fuse"
    assert str(driver.error) in str(failure(client))


def test_a_group_of_errors_is_told_as_its_errors(driver: Failing, client: DriverClient) -> None:
    inner = [ValueError("no channel 9"), ExceptionGroup("more", [ValueError("no channel 10"), ValueError("no 11")])]
    driver.error = ExceptionGroup("tasks", [*inner, ValueError("no 12"), ValueError("no 12")])
    found = failure(client)
    assert type(found) is DriverInvalidArgument
    assert found.reason == "no channel 9; no channel 10; no 11; and 1 more"


def test_a_traceback_comes_when_it_is_asked_for(driver: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(driver) as client:
        found = failure(client)
        assert found.remote_traceback == ""
        assert not hasattr(found, "__notes__")
    monkeypatch.setenv("JMP_DEBUG", "1")
    with serve(driver) as client:
        found = failure(client)
    assert "raise self.error" in found.remote_traceback
    assert found.remote_traceback in found.__notes__[0]


def test_a_traceback_stays_small(driver: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JMP_DEBUG", "1")
    driver.error = RuntimeError("ü" * 100_000)
    with serve(driver) as client:
        assert "üüü" in failure(client).remote_traceback


@pytest.mark.parametrize("filler", ["x", "ü", "漢", "\x1b", "\n", "\ud800", "%"])
def test_an_error_of_any_size_and_kind_arrives(driver: Failing, client: DriverClient, filler: str) -> None:
    driver.error = exceptions.BusyError(filler * 100_000, filler * 100_000)
    driver.error.__cause__ = RuntimeError(filler * 100_000)
    assert type(failure(client)) is DriverBusy


def test_the_default_limits_of_other_peers_hold_for_any_error() -> None:
    for filler in "x漢%\n\ud800":
        error = exceptions.BusyError(filler * 9_000, filler * 9_000)
        error.__cause__ = RuntimeError(filler * 9_000)
        error.__cause__.__cause__ = RuntimeError(filler * 9_000)
        where = {"driver": filler * 9_000, "device": filler * 9_000, "operation": filler * 9_000}
        found = failure_of(error, **where)  # type: ignore[arg-type]
        encoded = sum(1 if " " <= c <= "~" and c != "%" else 3 * len(c.encode()) for c in found.text)
        assert encoded + len(found.details.SerializeToString()) * 4 / 3 < 8000


@pytest.mark.parametrize("where", ["message", "hint", "cause", "traceback"])
def test_no_secret_leaves_the_exporter(
    driver: Failing, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JMP_DEBUG", "1")
    caplog.set_level(logging.INFO)
    secret = "https://ann:hunter2@lab/image"
    driver.error = exceptions.DeviceFaultyError(
        secret if where == "message" else "x", secret if where == "hint" else ""
    )
    if where == "cause":
        driver.error.__cause__ = OSError(secret)
    if where == "traceback":
        driver.error.__context__ = OSError(secret)
    with serve(driver) as client:
        found = failure(client)
    everything = f"{found}{found.parts()}{found.__notes__}{found.__cause__}{caplog.text}"
    assert "hunter2" not in everything
    assert "***@lab" in everything


def test_a_stream_that_breaks_says_why_in_the_end(driver: Failing, client: DriverClient) -> None:
    driver.error = OSError(errno.ENODEV, "No such device", "/dev/ttyUSB0")
    with pytest.raises(StreamBroken) as caught, client.stream("breaks") as stream:
        while True:
            stream.receive()
    found = caught.value
    assert isinstance(found, BrokenResourceError)
    assert (found.code, found.driver, found.operation) == ("stream-broken", "relay", "breaks")
    assert "No such device" in str(found)
    assert "plugged in" in found.hint


def test_what_the_body_of_a_stream_raises_passes_unchanged(client: DriverClient) -> None:
    groups = ExceptionGroup("of the user", [ValueError("x")])
    for error in (ZeroDivisionError("x"), groups):
        with pytest.raises(type(error)) as caught, client.stream("breaks"):
            raise error
        assert caught.value is error


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ExceptionGroup("of the user", [ValueError("x")])])
def test_contexts_with_tasks_do_not_wrap_what_their_body_raises(client: DriverClient, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, client.log_stream():
        raise error
    assert caught.value is error

    async def handler(stream: object) -> None: ...

    async def listen() -> None:
        async with TemporaryUnixListener(handler):
            raise error

    with pytest.raises(type(error)) as caught:
        client.portal.call(listen)
    assert caught.value is error


def test_of_several_errors_the_first_is_raised_with_the_others_as_notes() -> None:
    with pytest.raises(KeyError) as caught, ungrouped():
        raise BaseExceptionGroup("tasks", [KeyError("x"), ValueError("y")])
    assert caught.value.__notes__ == ["and also: ValueError: y"]
    with pytest.raises(KeyboardInterrupt), ungrouped():
        raise BaseExceptionGroup("tasks", [KeyError("x"), KeyboardInterrupt()])


def test_an_exporter_that_is_not_ready_refuses_calls_and_streams(driver: Failing) -> None:
    with Session(root_device=driver) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.OFFLINE, "preparing")
        from jumpstarter.client.client import connect
        from jumpstarter.client.connection import Endpoint
        from jumpstarter.client.tree import Policy

        with connect(Endpoint(str(path)), Policy(unsafe=True)) as client:
            assert failure(client).code == "not-ready"
            with pytest.raises(ExporterNotReady, match="preparing"), client.stream("breaks"):
                pass


def test_details_that_make_no_sense_do_no_harm() -> None:
    status = grpc.StatusCode.UNKNOWN
    assert error_of(status, "text", "relay", "on", [("x-jmp-error-bin", b"\xff\xff")]).message == "relay.on: text"
    later = jumpstarter_pb2.ErrorDetails(code="of-2031", message="text").SerializeToString()
    found = error_of(grpc.StatusCode.INVALID_ARGUMENT, "text", "relay", "on", [("x-jmp-error-bin", later)])
    assert type(found) is DriverInvalidArgument
    assert found.code == "of-2031"


def test_every_code_of_the_table_can_be_raised_and_read() -> None:
    codes = {code_for_peer(error) for error, *_ in TABLE}
    assert codes <= set(KINDS)
    for code, kind in KINDS.items():
        assert hasattr(grpc.StatusCode, kind.status), code
        assert kind.exit in (2, 65, 69, 70, 75, 77)


def test_ctrl_c_ends_a_blocking_call_at_once(driver: Failing, client: DriverClient) -> None:
    import os
    import signal

    interrupter = threading.Thread(target=lambda: driver.started.wait(60) and os.kill(os.getpid(), signal.SIGINT))
    interrupter.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        client.call("sleep")
    assert time.monotonic() - began < 20
    interrupter.join()


def test_cancelling_an_asynchronous_call_ends_it_at_once(driver: Failing, client: DriverClient) -> None:
    async def cancelled() -> float:
        call = asyncio.ensure_future(client.call_async("sleep"))
        await asyncio.to_thread(driver.started.wait, 60)
        began = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return time.monotonic() - began

    assert client.portal.call(cancelled) < 20


class Mute(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Foreign(exceptions.JumpstarterException):
    """An exception of a driver package, with a constructor of its own."""

    def __init__(self, channel: int) -> None:
        self.channel = channel


class ForeignDriverError(DriverError):
    """The same at the client."""

    def __init__(self, channel: int) -> None:
        self.channel = channel


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Mute(), "relay.fail: Mute; a fault of the driver; JMP_DEBUG=1 shows where"),
        (Foreign(3), "relay.fail: 3"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exceptions_of_others_arrive_too(driver: Failing, client: DriverClient, error: Exception, said: str) -> None:
    driver.error = error
    assert str(failure(client)) == said


def test_errors_derived_by_others_have_all_attributes() -> None:
    error = ForeignDriverError(3)
    assert (str(error), error.code, error.driver, error.hint, error.causes) == ("3", "failed", "", "", ())


@given(st.text(), st.text(), st.text(), st.lists(st.text(), max_size=8))
def test_any_error_becomes_a_status_that_fits_in_a_header(message: str, hint: str, device: str, causes: list[str]):
    error = exceptions.DeviceFaultyError(message, hint)
    last: BaseException = error
    for cause in causes:
        last.__cause__ = RuntimeError(cause)
        last = last.__cause__
    found = failure_of(error, driver="relay", device=device, operation="on", with_traceback=True)
    assert found.status is grpc.StatusCode.UNKNOWN
    assert found.text.encode()
    read = jumpstarter_pb2.ErrorDetails.FromString(found.details.SerializeToString())
    assert (read.code, read.driver, read.operation) == ("faulty", "relay", "on")
