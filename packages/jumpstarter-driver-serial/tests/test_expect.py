"""Scripts that run next to the port."""

import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.client.core import DriverInvalidArgument
from jumpstarter.common.exceptions import BusyError
from jumpstarter.common.utils import serve
from jumpstarter_driver_serial.client import PySerialClient
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_serial.failure import ExpectError
from jumpstarter_driver_serial.script import Step
from jumpstarter_testing.serial import FakeSerial

PATIENCE = 15.0


def answer(typed: bytes) -> bytes:
    """A board with a login."""
    return {b"root\r": b"root\r\n# ", b"uname -r\r": b"uname -r\r\n6.1.0\r\n# "}.get(typed, b"?")


@pytest.fixture
def board(tmp_path: Path) -> Generator[FakeSerial]:
    with FakeSerial(tmp_path / "board", answer=answer) as board:
        yield board


def test_a_script_logs_in(board: FakeSerial) -> None:
    with serve(PySerial(url=board.path)) as client:
        assert isinstance(client, PySerialClient)
        board.send(b"U-Boot\r\nlogin: ")
        result = client.expect(
            [
                Step(wait="login: ", timeout=PATIENCE),
                Step(line="root"),
                Step(wait="# ", timeout=PATIENCE),
                Step(pause=0.05),
                Step(line="uname -r"),
                Step(wait=r"(\d+)\.(\d+)\.\d+", timeout=PATIENCE, fail="panic"),
            ],
            since="start",
        )
        assert result.ok
        assert [step.did for step in result.steps] == ["wait", "send", "wait", "pause", "send", "wait"]
        assert (result.steps[0].before, result.steps[0].match) == ("U-Boot\r\n", "login: ")
        assert result.steps[0].offset == 15
        assert result.steps[-1].groups == ["6", "1"]
        assert result.steps[3].seconds >= 0.05
        assert abs(result.steps[-1].time - time.time()) < 60


def test_what_does_not_come_in_time_is_a_timeout_that_tells_what_came(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)) as client:
        assert isinstance(client, PySerialClient)
        mute.send(b"Kernel panic\xff")
        with pytest.raises(
            TimeoutError, match=r"step 1 of 1: no 'login' within 0.2 s; the last that came is"
        ) as caught:
            client.expect("login", since="start", timeout=0.2)
        assert isinstance(caught.value, ExpectError)
        assert caught.value.result.rest == "Kernel panic\\xff"
        assert caught.value.result.kind == "timeout"


def test_what_means_failure_ends_the_script_at_once(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)) as client:
        assert isinstance(client, PySerialClient)
        mute.send(b"Kernel panic - not syncing")
        with pytest.raises(ExpectError, match="'Kernel panic' came while waiting for 'login'"):
            client.expect([Step(wait="login", fail="Kernel panic", timeout=PATIENCE)], since="start")


def test_a_match_comes_in_pieces(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)) as client:
        assert isinstance(client, PySerialClient)

        def trickle() -> None:
            for byte in b"x" * 300 + b"login: ":
                mute.send(bytes((byte,)))

        thread = threading.Thread(target=trickle)
        thread.start()
        result = client.expect("login: ", since="start", timeout=PATIENCE)
        thread.join()
        assert result.steps[0].before == "x" * 300


def test_much_output_before_a_match_is_no_trouble(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)) as client:
        assert isinstance(client, PySerialClient)
        thread = threading.Thread(target=lambda: mute.send(b"noise\r\n" * 100_000 + b"login: "))
        thread.start()
        result = client.expect("login: ", since="start", timeout=PATIENCE)
        thread.join()
        assert len(result.steps[0].before) == 64 * 1024
        assert result.steps[0].offset == 700_007


def test_nobody_else_writes_meanwhile(device: FakeSerial) -> None:
    with serve(PySerial(url=device.path)) as client:
        assert isinstance(client, PySerialClient)
        with client.attach(writer="alice") as attached:
            attached.send(b"a")
            attached.receive()
            with pytest.raises(BusyError, match="written to by alice"):
                client.expect([Step(send="b")])
            with pytest.raises(BusyError, match="written to by alice"):
                client.send("b")
            assert client.expect([Step(send="c"), Step(wait="c", timeout=PATIENCE)], take=True).ok
            client.expect("a", since="start")  # waiting needs no right to write
        client.send("d")
        assert device.receive_until(b"d") == b"acd"


def test_a_script_fails_when_the_port_is_lost(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)) as client:
        assert isinstance(client, PySerialClient)
        timer = threading.Timer(0.3, mute.unplug)
        timer.start()
        with pytest.raises(ExpectError, match=r"console .* lost at .*: unplugged") as caught:
            client.expect("never", timeout=PATIENCE)
        assert caught.value.result.kind == "lost"
        timer.join()


@pytest.mark.parametrize("policy", ["wait=30", "mark"])
def test_a_script_goes_on_when_the_port_is_back(mute: FakeSerial, policy: str) -> None:
    with serve(PySerial(url=mute.path, on_unplug=policy)) as client:
        assert isinstance(client, PySerialClient)

        def replug() -> None:
            mute.unplug()
            time.sleep(0.3)
            mute.plug()
            mute.send(b"login: ")

        thread = threading.Timer(0.2, replug)
        thread.start()
        assert client.expect("login: ", timeout=PATIENCE).ok
        thread.join()


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (Step(), "step 1 has nothing; it needs one of wait, send, line, pause, send_break"),
        (Step(wait="a", send="b"), "step 1 has wait and send"),
        (Step(wait="("), "no regular expression"),
        (Step(send="a", fail="b"), "fail goes with wait"),
        (Step(wait="a", timeout=-1), "no number of seconds"),
    ],
)
def test_a_wrong_step_is_refused(step: Step, says: str) -> None:
    with serve(PySerial(url="loop://")) as client, pytest.raises(DriverInvalidArgument, match=says):
        assert isinstance(client, PySerialClient)
        client.expect([step])
