"""The supply, pins and settings of a DUTLink, over the real wire, on an emulated bus and in the lab on a kernel's."""

import fcntl
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter_driver_composite.driver import Composite
from jumpstarter_driver_dutlink import board as board_module
from jumpstarter_driver_dutlink.client import DutlinkPowerClient
from jumpstarter_driver_dutlink.driver import Dutlink, DutlinkPower
from jumpstarter_testing.usb.device import HangError, StallError
from jumpstarter_testing.usb.dutlink import DutlinkBoard, DutlinkBootloader
from jumpstarter_testing.usb.fixtures import Bench
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

UNREAD = 2048 if os.environ.get("JMP_LAB") else 1 << 17
"""Bytes that stay in a board when nobody reads its tty: a pseudo-terminal takes many."""


@contextmanager
def board_on(bench: Bench, **config: Any) -> Generator[DutlinkBoard]:
    board = DutlinkBoard(**config)
    bench.plug(board)
    yield board


@pytest.fixture
def board(usb_bench: Bench) -> DutlinkBoard:
    board = DutlinkBoard(scale=20)
    usb_bench.plug(board)
    return board


@contextmanager
def power_of(**config: Any) -> Generator[DutlinkPowerClient]:
    with serve(DutlinkPower(**config)) as client:
        assert isinstance(client, DutlinkPowerClient)
        yield client


@contextmanager
def dutlink(**config: Any) -> Generator[Any]:
    with serve(Dutlink(**config)) as client:
        yield client


def refused(pattern: str, **config: Any) -> None:
    """Assert that no exporter starts with that, and why."""
    with pytest.raises(Exception, match=pattern), serve(DutlinkPower(**config)):
        pass


@pytest.mark.kernel
def test_power_is_switched_and_measured(board: DutlinkBoard) -> None:
    with power_of(read_interval=0.1) as power:
        power.on()
        assert board.is_powered
        time.sleep(0.3)
        reading = next(power.read())
        assert reading.voltage == pytest.approx(12.05, abs=0.02)
        assert reading.current == pytest.approx(1.02, abs=0.02)
        assert power.state() == "on"
        power.off()
        assert not board.is_powered
        time.sleep(0.3)
        assert power.state() == "off"
        assert board.history == ["power on", "supply on", "power off", "supply off"]


def test_readings_have_watts_and_time_at_a_chosen_rate(board: DutlinkBoard) -> None:
    with power_of() as power:
        power.force_on()
        time.sleep(0.3)
        readings = list(islice(power.measure(interval=0.05), 5))
        assert [round(reading.power, 1) for reading in readings] == [12.3] * 5
        times = [reading.time for reading in readings]
        assert times == sorted(times)
        assert times[0].tzinfo is not None
        assert (times[-1] - times[0]).total_seconds() >= 0.2
        with pytest.raises(DriverError, match=r"interval must be 0\.05 seconds or more"):
            next(power.measure(interval=0))


def test_power_can_be_switched_while_somebody_measures(board: DutlinkBoard) -> None:
    with power_of(read_interval=0.05) as power:
        readings = power.read()
        assert next(readings).voltage == 0
        power.on()
        assert until(lambda: next(readings).voltage > 12)


def test_two_entries_for_one_board_are_one_board(board: DutlinkBoard) -> None:
    with serve(Composite(children={"dutlink": Dutlink(), "power": DutlinkPower(serial="c415a913")})) as made:
        client: Any = made
        for _ in range(3):
            client.dutlink.power.on()
            client.power.off()
            assert not board.is_powered
            client.power.on()
            client.dutlink.power.off()
            assert not board.is_powered
        assert board.history.count("power on") == board.history.count("power off") == 6


def test_a_power_sequence_is_waited_for(board: DutlinkBoard) -> None:
    with dutlink() as whole:
        whole.set_setting("power_on", "p1,bL,w40,bZ")  # 4 s of the board's time, 0.2 s of ours
        whole.set_setting("power_off", "bL,w40,bZ,p0")
        board.history.clear()
        start = time.monotonic()
        whole.power.on()
        assert time.monotonic() - start >= 0.2
        assert board.history == ["power on", "supply on", "sequence b low", "sequence b high-impedance"]
        time.sleep(0.2)
        whole.power.off()
        assert board.history[-1] == "supply off"
        time.sleep(0.2)
        board.history.clear()
        whole.power.off()  # there is no power, and no button is pressed for that
        assert board.history == ["power force-off"]


def test_rescue_runs_its_own_sequence(board: DutlinkBoard) -> None:
    with dutlink() as whole:
        whole.set_setting("power_rescue", "p1,aL,rL,w1,rZ,w1,aZ")
        board.history.clear()
        whole.power.rescue()
        assert board.history[:4] == ["power rescue", "supply on", "sequence a low", "sequence reset low"]


def test_old_snapshot_does_not_hide_a_sequence(usb_bench: Bench) -> None:
    with board_on(usb_bench, version=0x0008, scale=50) as board, power_of() as power:
        board.fields["power_on"] = b"p1,aL"  # firmware 0.08 takes it from what was refreshed last
        power.on()
        assert "sequence a low" in board.history


def test_pins_are_driven(board: DutlinkBoard) -> None:
    with dutlink() as whole:
        whole.set_pin("reset", "low")
        assert board.pins[0] == "low"
        whole.set_pin("a", "high")
        assert board.pins[1] == "high-impedance"  # until the DUT is on
        whole.power.on()
        assert board.pins[1] == "high"
        whole.power.off()
        assert board.pins[1] == "high-impedance"
        board.history.clear()
        whole.press("b", 0.05)
        assert board.history == ["pin b low", "pin b high-impedance"]
        whole.release_pins()
        assert board.pins == ["high-impedance"] * 5
        with pytest.raises(DriverError, match="expected 'reset', 'a', 'b', 'c' or 'd', got 'e'"):
            whole.set_pin("e", "low")


def test_settings_are_written_once_and_read_back(board: DutlinkBoard) -> None:
    with dutlink() as whole:
        assert whole.version() == "0.09"
        whole.set_setting("name", "left bench")
        whole.set_setting("name", "left bench")
        assert board.history == ["write name"]
        assert whole.settings() == {
            "name": "left bench",
            "tags": "",
            "usb_console": "",
            "power_on": "",
            "power_off": "",
            "power_rescue": "",
        }
        with pytest.raises(DriverError, match="power_on has room for 32 bytes"):
            whole.set_setting("power_on", "x" * 33)
        info = whole.info()
        assert (info["serial"], info["firmware"], info["power"]) == ("c415a913", "0.09", "off")


def test_a_serial_of_digits_needs_no_quotes(usb_bench: Bench) -> None:
    with board_on(usb_bench, serial="00123459"), power_of(serial=123459) as power:
        assert power.state() == "off"


class TestWhichBoard:
    def test_none(self, usb_bench: Bench) -> None:
        refused("no DUTLink is connected; connect its USB-C plug")

    def test_wrong_serial_names_those_that_are_there(self, board: DutlinkBoard) -> None:
        pattern = r"no DUTLink with serial '1' is connected; there is \[Dutlink 2b23:1012, serial c415a913, port "
        refused(pattern, serial="1")

    @pytest.mark.kernel
    def test_two_boards_and_no_serial_are_refused(self, usb_bench: Bench) -> None:
        with board_on(usb_bench, serial="0000000a") as a, board_on(usb_bench, serial="0000000b") as b:
            refused(r"2 DUTLinks fit.*0000000a.*0000000b.*set serial")
            assert a.requests == b.requests == [] or usb_bench.is_real  # the kernel's driver asks for its own
            with power_of(serial="0000000b") as power:
                power.on()
            assert "power on" in b.history
            assert a.history == []

    def test_two_boards_with_one_serial_are_told_apart_by_port(self, usb_bench: Bench) -> None:
        with board_on(usb_bench) as a, board_on(usb_bench) as b:
            refused(r"2 DUTLinks fit.*set port", serial="c415a913")
            found = usb_bench.find(b)
            assert found is not None
            with power_of(serial="c415a913", port=found.port) as power:
                power.on()
            assert "power on" in b.history
            assert a.history == []

    def test_bootloader(self, usb_bench: Bench) -> None:
        usb_bench.plug(DutlinkBootloader())
        refused(r"in DFU mode.*press its reset button")

    def test_old_firmware(self, usb_bench: Bench) -> None:
        with board_on(usb_bench, version=0x0007):
            refused(r"firmware 0\.07 has no control interface; update .* to 0\.08")


class TestFaults:
    def test_stall(self, board: DutlinkBoard) -> None:
        with power_of() as power:
            board.faults.append(StallError())
            with pytest.raises(DriverError, match=r"serial c415a913.*refused the request"):
                power.on()
            assert not board.is_powered
            power.on()
            assert board.is_powered

    def test_no_answer(self, board: DutlinkBoard) -> None:
        with power_of(timeout_s=0.5) as power:
            board.faults.append(HangError())
            with pytest.raises(DriverError, match=r"no answer within 0\.5 s") as error:
                power.state()
            assert isinstance(error.value, TimeoutError)
            assert power.state() == "off"

    def test_sequence_longer_than_the_patience(self, board: DutlinkBoard) -> None:
        board.fields["power_on"] = b"p1,w10"
        with power_of(timeout_s=0.5) as power:
            power.on()  # the sequence has ended before the end of what it may take
            assert board.busy() == 0

    def test_sequence_that_does_not_end_in_time(self, board: DutlinkBoard, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(board_module, "SLACK", 0.3)
        board.scale = 0.1  # slower than it says
        board.fields["power_on"] = b"p1,w2"
        with power_of(timeout_s=0.3) as power:
            with pytest.raises(DriverError, match=r"its power sequence takes 0\.2 s, and may still be running"):
                power.on()
            until(lambda: not board.busy())
            assert board.history.count("power on") == 1  # and nothing is pressed again
            power.force_off()
            assert not board.is_powered

    @pytest.mark.kernel
    def test_wedged_by_what_nobody_reads(self, board: DutlinkBoard, caplog: pytest.LogCaptureFixture) -> None:
        with power_of(timeout_s=1) as power:
            board.wedge(UNREAD)
            power.on()
            assert board.history == ["power on", "supply on"]  # once
            assert "unread bytes were taken from its tty" in caplog.text
            assert power.state() in ("on", "off")  # it answers; the voltage follows later

    def test_wedged_while_another_program_has_the_tty(self, usb_bench: Bench, board: DutlinkBoard) -> None:
        if isinstance(usb_bench, KernelBench):
            pytest.skip("the kernel takes what comes as soon as anybody has the tty open")
        found = usb_bench.find(board)
        assert found is not None
        [tty] = until(lambda: usb_bench.host.ttys(found))
        with power_of(timeout_s=0.5) as power:
            with tty.open("rb") as other:
                fcntl.flock(other, fcntl.LOCK_EX)
                board.wedge(UNREAD)
                with pytest.raises(DriverError, match=r"c415a913.*no answer within 0\.5 s"):
                    power.on()
                assert board.history == []
            power.on()
            assert board.history == ["power on", "supply on"]

    @pytest.mark.kernel
    def test_unplugged_and_plugged_in_again(self, usb_bench: Bench, board: DutlinkBoard) -> None:
        with power_of() as power:
            power.on()
            usb_bench.unplug(board)
            gone = r"disconnected; the DUT has no power now; no DUTLink with serial 'c415a913' is connected"
            with pytest.raises(DriverError, match=gone):
                power.on()
            usb_bench.plug(board)
            until(lambda: usb_bench.find(board))
            assert not board.is_powered
            power.on()
            assert board.is_powered

    @pytest.mark.kernel
    def test_unplugged_while_it_measures(self, usb_bench: Bench, board: DutlinkBoard) -> None:
        with power_of(read_interval=0.1) as power:
            readings = power.read()
            next(readings)
            usb_bench.unplug(board)
            with pytest.raises(DriverError, match="c415a913"):
                for _ in readings:
                    pass
            usb_bench.plug(board)
            assert next(power.read()).voltage == 0

    @pytest.mark.kernel
    def test_unplugged_in_a_power_sequence(self, usb_bench: Bench, board: DutlinkBoard) -> None:
        board.scale = 1
        board.fields["power_on"] = b"p1,bL,w200,bZ"  # 20 s
        failures: list[DriverError] = []
        with power_of() as power:

            def switch_on() -> None:
                try:
                    power.on()
                except DriverError as e:
                    failures.append(e)

            start = time.monotonic()
            thread = threading.Thread(target=switch_on)
            thread.start()
            until(lambda: "power on" in board.history)
            usb_bench.unplug(board)
            thread.join(15)
            assert time.monotonic() - start < 15
            assert "disconnected" in str(failures[0])
            board.scale = 100
            usb_bench.plug(board)
            power.on()
            assert board.is_powered

    def test_brown_out_is_noticed(
        self, usb_bench: Bench, board: DutlinkBoard, caplog: pytest.LogCaptureFixture
    ) -> None:
        with power_of() as power:
            power.on()
            usb_bench.unplug(board)
            usb_bench.plug(board)  # another address, and all states are lost
            assert power.state() == "off"
        assert "was away: the DUT's power and storage are off now" in caplog.text

    def test_unplugged_in_the_middle_of_a_request(self, usb_bench: Bench, board: DutlinkBoard) -> None:
        with power_of() as power:
            if isinstance(usb_bench, KernelBench):
                pytest.skip("a device cannot be pulled by the thread that answers for it")
            board.before = lambda _: usb_bench.unplug(board)
            with pytest.raises(DriverError, match=r"c415a913, port .*: disconnected; the DUT has no power now; cannot"):
                power.on()

    def test_another_board_in_its_place_is_not_taken(self, usb_bench: Bench, board: DutlinkBoard) -> None:
        with power_of() as power:
            power.on()
            usb_bench.unplug(board)
            with board_on(usb_bench, serial="00000002") as other:
                with pytest.raises(DriverError, match=r"no DUTLink with serial 'c415a913'.*there is .*00000002"):
                    power.on()
                assert other.history == []

    def test_no_permission(self, usb_bench: Bench, board: DutlinkBoard) -> None:
        if isinstance(usb_bench, KernelBench):
            pytest.skip("root may everything")
        usb_bench.backend.denied.add(board)
        with power_of() as power, pytest.raises(DriverError) as error:
            power.on()
        assert "no permission for" in str(error.value)
        assert 'ATTR{idVendor}=="2b23", ATTR{idProduct}=="1012", GROUP="jumpstarter"' in str(error.value)
