"""The console over a real socket, with a pseudo-terminal as its port."""

import threading
import time
from pathlib import Path

import pytest
import serial
from jumpstarter.client.core import DriverError
from jumpstarter.common.exceptions import BusyError, DeviceAbsentError
from jumpstarter.common.utils import serve
from jumpstarter.streams.blocking import BlockingStream
from jumpstarter_driver_serial.attached import Attached
from jumpstarter_driver_serial.client import PySerialClient
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_serial.items import Data, Event, Item, Refused
from jumpstarter_testing.serial import FakeSerial

PATIENCE = 60


def console(client: object) -> PySerialClient:
    assert isinstance(client, PySerialClient)
    return client


def received(stream: BlockingStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += stream.receive()
    return data


def up_to(attached: Attached, count: int) -> bytes:
    """The next bytes of an attached console."""
    data = b""
    while len(data) < count:
        item = attached.receive()
        assert item is not None
        if isinstance(item, Data):
            data += item.data
    return data


def next_event(attached: Attached, kind: type[Item] = Event) -> Item:
    while not isinstance(item := attached.receive(), kind):
        assert item is not None
    return item


def with_client(driver: PySerial) -> None:
    """Serve a driver, and stop."""
    with serve(driver):
        pass


def until(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_bytes_go_both_ways_as_they_are(device: FakeSerial) -> None:
    every = bytes(range(256)) * 10
    with serve(PySerial(url=device.path)) as client, client.stream() as stream:
        stream.send(every)
        assert received(stream, len(every)) == every


def test_what_came_before_anybody_attached_is_there(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)) as client:
        mute.send(b"U-Boot 2026.01\r\n")
        until(lambda: client.call("status")["end"] == 16)
        assert console(client).log() == b"U-Boot 2026.01\r\n"
        assert console(client).log(since=7) == b"2026.01\r\n"


def test_what_came_before_the_port_was_opened_is_there(mute: FakeSerial) -> None:
    mute.send(b"early")
    with serve(PySerial(url=mute.path)) as client, console(client).attach(since="start") as attached:
        assert up_to(attached, 5) == b"early"


def test_every_reader_has_all(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)) as client, client.stream() as one, client.stream() as other:
        mute.send(b"for all")
        assert (received(one, 7), received(other, 7)) == (b"for all", b"for all")


def test_a_reader_goes_on_where_it_was(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)) as client:
        with console(client).attach() as attached:
            mute.send(b"first ")
            assert up_to(attached, 6) == b"first "
            place = attached.offset
        mute.send(b"second ")
        with console(client).attach(since=place) as attached:
            mute.send(b"third")
            assert up_to(attached, 12) == b"second third"


def test_the_second_writer_is_refused_naming_the_first_and_reads_on(device: FakeSerial) -> None:
    with serve(PySerial(url=device.path)) as client:
        with console(client).attach(writer="alice") as first, console(client).attach(writer="bob") as second:
            first.send(b"a")
            assert up_to(first, 1) == b"a"
            second.send(b"b")
            refused = next_event(second, Refused)
            assert isinstance(refused, Refused)
            assert "written to by alice" in refused.text
            second.take()
            second.send(b"c")
            assert up_to(second, 1) in (b"a", b"c")
            event = next_event(first)
            assert isinstance(event, Event)
            assert event.text == "bob writes now, taken from alice"
            first.send(b"d")
            refused = next_event(first, Refused)
            assert isinstance(refused, Refused)
            assert "written to by bob" in refused.text
        with console(client).attach(writer="carol") as third:  # the pen is free when its holder has left
            third.send(b"e")
            assert up_to(third, 1) == b"e"
        assert b"b" not in device.received() + console(client).log()


def test_a_plain_stream_that_may_not_write_ends_with_the_reason(device: FakeSerial) -> None:
    with serve(PySerial(url=device.path)) as client, console(client).attach(writer="alice") as first:
        first.send(b"a")
        up_to(first, 1)
        with pytest.raises(DriverError, match="written to by alice"), client.stream() as stream:
            stream.send(b"b")
            while True:
                stream.receive()


def test_the_pen_can_be_given_up(device: FakeSerial) -> None:
    with (
        serve(PySerial(url=device.path)) as client,
        console(client).attach(writer="alice") as first,
        client.stream() as second,
    ):
        first.send(b"a")
        assert received(second, 1) == b"a"
        first.give()
        second.send(b"b")
        assert received(second, 1) == b"b"


class TestUnplug:
    def test_a_reader_that_is_to_fail_does_with_the_cause(self, device: FakeSerial) -> None:
        with serve(PySerial(url=device.path)) as client:
            with pytest.raises(DriverError, match=r"lost at \d\d:\d\d:\d\d\.\d+: unplugged"), client.stream() as stream:
                device.unplug()
                begin = time.monotonic()
                try:
                    while True:
                        stream.receive()
                finally:
                    assert time.monotonic() - begin < PATIENCE
            with pytest.raises(DeviceAbsentError, match="unplugged"), client.stream() as stream:
                stream.receive()

    def test_it_goes_on_without_a_restart(self, device: FakeSerial) -> None:
        with serve(PySerial(url=device.path)) as client:
            device.unplug()
            until(lambda: not client.call("status")["open"])
            device.plug()
            until(lambda: client.call("status")["open"])
            with client.stream() as stream:
                stream.send(b"again")
                assert received(stream, 5) == b"again"

    def test_a_reader_that_waits_has_what_comes_afterwards(self, mute: FakeSerial) -> None:
        with (
            serve(PySerial(url=mute.path, on_unplug="wait=30")) as client,
            client.stream() as stream,
            console(client).attach() as attached,
        ):
            mute.send(b"before ")
            assert received(stream, 7) == b"before "
            mute.unplug()
            until(lambda: not client.call("status")["open"])
            mute.plug()
            mute.send(b"after")
            assert received(stream, 5) == b"after"
            assert up_to(attached, 7) == b"before "
            lost, back = next_event(attached), next_event(attached)
            assert isinstance(lost, Event)
            assert isinstance(back, Event)
            assert (lost.kind, back.kind) == ("lost", "back")
            assert lost.text.endswith(": unplugged")
            assert back.text.startswith("back after ")
            assert up_to(attached, 5) == b"after"

    def test_a_reader_that_waits_fails_in_the_end(self, mute: FakeSerial) -> None:
        with (
            serve(PySerial(url=mute.path, on_unplug="wait=0.3")) as client,
            pytest.raises(DriverError, match=r"did not come back within 0\.3 s"),
            client.stream() as stream,
        ):
            mute.unplug()
            stream.receive()

    def test_a_plain_stream_has_a_mark(self, mute: FakeSerial) -> None:
        with serve(PySerial(url=mute.path, on_unplug="mark")) as client, client.stream() as stream:
            mute.unplug()
            assert b"[console lost at" in stream.receive()
            mute.plug()
            assert b"[console back after" in stream.receive()
            mute.send(b"after")
            assert received(stream, 5) == b"after"

    def test_a_writer_that_waits_writes_when_it_is_back(self, device: FakeSerial) -> None:
        with serve(PySerial(url=device.path, on_unplug="wait=30")) as client, client.stream() as stream:
            device.unplug()
            until(lambda: not client.call("status")["open"])
            timer = threading.Timer(0.3, device.plug)
            timer.start()
            stream.send(b"late")
            assert received(stream, 4) == b"late"
            timer.join()


class TestMissing:
    def test_a_missing_port_says_which_and_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match=rf"{tmp_path}/nothing is not there; connect the device"):
            with_client(PySerial(url=f"{tmp_path}/nothing"))

    def test_a_port_that_need_not_be_there_is_waited_for(self, tmp_path: Path) -> None:
        fake = FakeSerial(tmp_path / "tty", answer=lambda typed: typed)
        with serve(PySerial(url=fake.path, check_present=False)) as client:
            with pytest.raises(DeviceAbsentError, match="is not there"), client.stream() as stream:
                stream.receive()
            with fake:
                until(lambda: client.call("status")["open"])
                with client.stream() as stream:
                    stream.send(b"x")
                    assert stream.receive() == b"x"

    def test_a_port_in_use_names_who_has_it(self, device: FakeSerial) -> None:
        with serial.Serial(device.path, exclusive=True), pytest.raises(BusyError, match=r"use by .*\(process \d+\)"):
            with_client(PySerial(url=device.path))

    def test_a_port_of_another_exporter_is_busy(self, device: FakeSerial) -> None:
        with serve(PySerial(url=device.path)), pytest.raises(BusyError, match="in use by another exporter"):
            with_client(PySerial(url=device.path))


def test_loop_echoes() -> None:
    with serve(PySerial(url="loop://")) as client, client.stream() as stream:
        stream.send(b"hello")
        assert received(stream, 5) == b"hello"
        assert client.call("status")["lines"]["dtr"] is True
        client.call("set_dtr", False)
        client.call("set_baudrate", 9600)
        client.call("send_break", 0.05)
        assert client.call("status")["lines"]["dtr"] is False
        stream.send(b"still")
        assert received(stream, 5) == b"still"


def test_the_rate_changes_while_readers_go_on(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path, baudrate=9600)) as client, client.stream() as stream:
        assert mute.baudrate == 9600
        mute.send(b"slow ")
        client.call("set_baudrate", 115200)
        assert mute.baudrate == 115200
        mute.send(b"fast")
        assert received(stream, 9) == b"slow fast"


def test_a_slow_device_is_typed_to_slowly(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path, cps=100)) as client, client.stream() as stream:
        begin = time.monotonic()
        stream.send(b"x" * 30)
        mute.receive_until(b"x" * 30)
        assert time.monotonic() - begin >= 0.28


def test_pexpect_talks_to_it(device: FakeSerial) -> None:
    with serve(PySerial(url=device.path)) as client, console(client).pexpect() as session:
        session.send("login: ")
        session.expect_exact("login: ", timeout=PATIENCE)


def test_a_port_that_is_held_in_sessions_only_is_free_between_them(device: FakeSerial) -> None:
    driver = PySerial(url=device.path, hold="session")
    with serve(driver) as client:
        with serial.Serial(device.path, exclusive=True):
            pass
        assert client.call("status")["open"] is False
        with client.stream() as stream:
            stream.send(b"x")
            assert received(stream, 1) == b"x"
        with pytest.raises(serial.SerialException), serial.Serial(device.path, exclusive=True):
            pass
    with serial.Serial(device.path, exclusive=True):
        pass


def test_a_port_that_cannot_be_quicker_says_so_and_works(device: FakeSerial, caplog: pytest.LogCaptureFixture) -> None:
    with serve(PySerial(url=device.path, low_latency=True)) as client, client.stream() as stream:
        stream.send(b"x")
        assert received(stream, 1) == b"x"
    assert f"console {device.path}: this port has no low_latency; it goes on without" in caplog.messages


def test_a_url_that_cannot_be_quicker_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with serve(PySerial(url="loop://", low_latency=True)):
        pass
    assert caplog.messages.count("console loop://: this port has no low_latency; it goes on without") == 1
