"""Faults of a console's port, its device and its users, with the times and sizes that hold."""

import json
import os
import random
import socket
import struct
import threading
import time
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from anyio import BrokenResourceError, ClosedResourceError
from jumpstarter.client import direct
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.core import DriverError
from jumpstarter.client.tree import Policy
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.common.exceptions import BusyError, DeviceAbsentError
from jumpstarter.common.utils import serve
from jumpstarter.exporter.record import Recorder
from jumpstarter.exporter.session import Session
from jumpstarter.streams.blocking import BlockingStream
from jumpstarter.streams.portal import shared_portal
from jumpstarter_driver_serial.client import PySerialClient
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_serial.failure import ExpectError
from jumpstarter_driver_serial.script import Step
from jumpstarter_testing.serial import FakeSerial
from jumpstarter_testing.waiting import until

MIB = 1 << 20
TOLD = 2.0
"""Seconds in which whoever uses a console learns that its device is gone, and why."""

GROWTH = 64 * MIB
"""Bytes that a device or a client which misbehaves may cost."""

FLOOD = int(os.environ.get("JMP_TEST_FLOOD_MIB", "96")) * MIB

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]


class Outcomes:
    """What came of several users of a console, and when."""

    def __init__(self, client: PySerialClient) -> None:
        self.client = client
        self.ended: dict[str, tuple[float, BaseException | None]] = {}
        users = (self._reads, self._attached, self._writes, self._expects)
        self._ready = [threading.Event() for _ in users]
        self._threads = [
            threading.Thread(target=self._run, args=(user, ready), daemon=True)
            for user, ready in zip(users, self._ready, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        assert all(ready.wait(60) for ready in self._ready)

    def _run(self, use: Callable[[threading.Event], object], ready: threading.Event) -> None:
        error = None
        try:
            use(ready)
        except BaseException as e:  # noqa: BLE001 looked at by the test
            error = e
        self.ended[use.__name__] = time.monotonic(), error

    def _reads(self, ready: threading.Event) -> None:
        with self.client.stream() as stream:
            ready.set()
            while True:
                stream.receive()

    def _attached(self, ready: threading.Event) -> None:
        with self.client.attach() as attached:
            ready.set()
            while attached.receive() is not None:
                pass

    def _writes(self, ready: threading.Event) -> None:
        with self.client.stream() as stream:
            ready.set()
            while True:
                stream.send(b"x")
                time.sleep(0.02)

    def _expects(self, ready: threading.Event) -> None:
        ready.set()
        self.client.expect("never", timeout=60)

    def check(self, begin: float, cause: str) -> None:
        """All of them were told the cause in time."""
        for thread in self._threads:
            thread.join(60)
        assert len(self.ended) == len(self._threads)
        for who, (moment, error) in self.ended.items():
            assert isinstance(error, DriverError | ExpectError | DeviceAbsentError), (who, error)
            assert cause in str(error), who
            assert moment - begin < TOLD, who


@contextmanager
def served(driver: PySerial) -> Generator[PySerialClient]:
    with serve(driver) as client:
        assert isinstance(client, PySerialClient)
        yield client


def test_unplugging_is_told_with_its_cause_and_plugging_in_needs_no_restart(device: FakeSerial) -> None:
    with served(PySerial(url=device.path)) as client:
        for _ in range(2):
            outcomes = Outcomes(client)
            begin = time.monotonic()
            device.unplug()
            outcomes.check(begin, "unplugged")
            begin = time.monotonic()
            with pytest.raises(DeviceAbsentError, match="unplugged"), client.stream() as stream:
                stream.receive()
            assert time.monotonic() - begin < TOLD
            device.plug()
            until(lambda: client.status()["open"])
            with client.stream() as stream:
                stream.send(b"again")
                assert stream.receive()


@contextmanager
def terminal_server() -> Generator[tuple[str, Callable[[], socket.socket]]]:
    """The URL of one, and what takes its next connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}", lambda: listener.accept()[0]


@pytest.mark.parametrize(("how", "cause"), [("reset", "connection reset by peer"), ("close", "was closed")])
def test_a_device_that_resets_or_closes_is_told_with_its_cause(how: str, cause: str) -> None:
    with terminal_server() as (url, accept), served(PySerial(url=url)) as client:
        peer = accept()
        outcomes = Outcomes(client)
        if how == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        begin = time.monotonic()
        if how == "close":  # with bytes of ours unread, closing would be a reset, too
            peer.shutdown(socket.SHUT_WR)
        else:
            peer.close()
        outcomes.check(begin, cause)
        peer.close()
        with accept() as peer:
            until(lambda: client.status()["open"])
            peer.sendall(b"again")
            assert client.expect("again", since="start", timeout=60).ok


def test_a_device_that_refuses_is_told_at_once() -> None:
    with terminal_server() as (url, _):
        pass
    begin = time.monotonic()
    with pytest.raises(OSError, match=rf"{url}: connection refused; is the service running"), serve(PySerial(url=url)):
        pass
    assert time.monotonic() - begin < TOLD


def test_a_device_that_refuses_later_is_told_by_the_policy() -> None:
    with terminal_server() as (url, accept):
        driver = PySerial(url=url, on_unplug="wait=1")
        driver.reset()
        peer = accept()
    with served(driver) as client:
        outcomes = Outcomes(client)
        begin = time.monotonic()
        peer.close()
        with pytest.raises(DriverError, match="did not come back within 1 s"), client.stream() as stream:
            stream.receive()
        assert 1 - 0.1 < time.monotonic() - begin < 1 + TOLD
        assert outcomes.client.status()["open"] is False


@pytest.fixture
def hanging() -> Generator[str]:
    """A port whose device neither says nor takes anything."""
    device, port = os.openpty()
    tty.setraw(port)
    yield os.ttyname(port)
    os.close(port)
    os.close(device)


def test_a_device_that_hangs_holds_nobody_up_longer_than_they_say(hanging: str) -> None:
    with served(PySerial(url=hanging, baudrate=4_000_000)) as client:
        begin = time.monotonic()
        with pytest.raises(ExpectError, match=r"no 'login:' within 0\.5 s; nothing came"):
            client.expect("login:", timeout=0.5)
        assert 0.5 <= time.monotonic() - begin < 0.5 + TOLD
        begin = time.monotonic()
        with pytest.raises(ExpectError, match=r"the device does not take what is sent, for 0\.5 s") as failed:
            client.expect([Step(send="x" * (MIB // 4), timeout=0.5)])
        assert isinstance(failed.value, TimeoutError)
        assert 0.5 <= time.monotonic() - begin < 1.2 + TOLD, "which the line itself may take, too"
        assert client.status()["open"], "others use it meanwhile"


@pytest.mark.parametrize("is_read", [False, True], ids=["by who sends", "while another reads"])
def test_what_a_device_does_not_take_is_told_at_the_end(
    hanging: str, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "FINISH_TIMEOUT", 1.0)
    begin = time.monotonic()
    with (
        served(PySerial(url=hanging)) as client,
        pytest.raises(BrokenResourceError, match="the last bytes may be lost"),
        client.stream() as stream,
    ):
        if is_read:
            threading.Thread(target=reading, args=(stream,), daemon=True).start()
        stream.send(bytes(MIB))
    assert time.monotonic() - begin < 1 + TOLD


def reading(stream: BlockingStream) -> None:
    with suppress(BrokenResourceError, ClosedResourceError):
        stream.receive()


def test_what_a_device_had_not_taken_when_it_went_is_told_at_the_end() -> None:
    device, port = os.openpty()
    tty.setraw(port)
    with served(PySerial(url=os.ttyname(port))) as client:
        with pytest.raises(DriverError, match=r"unplugged|hung up"), client.stream() as stream:
            stream.send(bytes(MIB))
            os.close(port)
            os.close(device)
        until(lambda: not client.status()["open"])


def test_a_second_opener_is_refused_naming_the_holder_and_two_clients_see_all(device: FakeSerial) -> None:
    with served(PySerial(url=device.path)) as client:
        with pytest.raises(BusyError, match="in use by another exporter"), serve(PySerial(url=device.path)):
            pass
        with client.attach(writer="alice") as first, client.attach(writer="bob") as second:
            first.send(b"for both")
            for attached in (first, second):
                got = b""
                while len(got) < 8:
                    got += getattr(attached.receive(), "data", b"")
                assert got == b"for both"
            second.send(b"refused")
            while "written to by alice" not in str(getattr(second.receive(), "text", "")):
                pass


@contextmanager
def connected(path: Path) -> Generator[PySerialClient]:
    with connect(Endpoint(str(path)), Policy(unsafe=True), shared_portal()) as client:
        assert isinstance(client, PySerialClient)
        yield client


def resident() -> int:
    """Bytes of memory that this process has: of exporter and client together."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_flood_costs_bounded_memory_and_every_record_is_one_line(mute: FakeSerial, tmp_path: Path) -> None:
    noise = random.Random(53)
    pieces = [
        b"\x1b]0;title\x07",
        b"\x00" * 50,
        b"\xff\xfe\xc3",
        b"\x1b[31mred\x1b[m",
        b"\r\n",
        b"\n",
        b"\x85\xe2\x80\xa8",
    ]
    block = b"".join(noise.choice([*pieces, noise.randbytes(20)]) for _ in range(80_000))[:MIB]
    record = Recorder("lab", directory=tmp_path / "records")
    record.begin()
    driver = PySerial(url=mute.path)
    with Session(root_device=driver, record=record) as session:
        session.update_status(ExporterStatus.LEASE_READY)
        with (
            session.serve_unix() as path,
            connected(path) as client,
            client.stream() as unread,
            client.attach() as seen,
        ):
            mute.send(block, timeout=60)
            before = most = resident()
            for _ in range(FLOOD // MIB):
                mute.send(block, timeout=60)  # nobody reads the one, nor the other
                most = max(most, resident())
            assert most - before < GROWTH
            mute.send(b"\r\nthe end\r\n")
            assert client.expect("the end", since="start", timeout=60).ok
            with suppress(DriverError):
                unread.receive()
            assert seen.receive() is not None
            assert max(most, resident()) - before < GROWTH
    record.end()
    record.close()
    lines = b"".join(file.read_bytes() for file in (tmp_path / "records").glob("*.jsonl")).split(b"\n")
    assert lines.pop() == b""
    entries = [json.loads(line) for line in lines]
    said = [entry for entry in entries if entry["kind"] == "console" and "event" not in entry]
    assert said
    assert all("\n" not in entry["text"] and "\r" not in entry["text"] for entry in said)
    assert any(entry.get("event") == "skipped" for entry in entries)
