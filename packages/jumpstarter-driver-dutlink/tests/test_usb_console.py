"""The console of a DUTLink, over the real wire, on an emulated bus and in the lab on a kernel's."""

import fcntl
import os
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.client.core import DriverError, DriverMethodNotImplemented
from jumpstarter.common.utils import serve
from jumpstarter_driver_dutlink.driver import Dutlink, DutlinkPower, DutlinkSerial
from jumpstarter_testing.loops import tmpfs
from jumpstarter_testing.serial import FakeSerial
from jumpstarter_testing.usb.bench import FakeBench
from jumpstarter_testing.usb.dutlink import DutlinkBoard, DutlinkBootloader
from jumpstarter_testing.usb.fixtures import Bench
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

DEADLINE = 15


@pytest.fixture
def board(usb_bench: Bench) -> DutlinkBoard:
    board = DutlinkBoard(scale=20)
    usb_bench.plug(board)
    return board


@contextmanager
def console(**config: Any) -> Generator[Any]:
    with serve(DutlinkSerial(**config)) as client:
        yield client


@pytest.mark.kernel
def test_boot_log_and_typing(board: DutlinkBoard) -> None:
    with serve(Dutlink()) as client:
        dutlink: Any = client
        with dutlink.console.pexpect() as session:
            dutlink.power.on()
            session.expect_exact(b"login: ", timeout=DEADLINE)
            assert b"boot: kernel" in session.before
            session.send(b"root\n")
            session.expect_exact(b"root", timeout=DEADLINE)
            assert b"root\n" in board.typed


@pytest.mark.kernel
def test_binary_data_does_not_end_in_the_shell_of_the_board(board: DutlinkBoard) -> None:
    sent = b"begin" + b"\x02" * 12 + b"end" + bytes(range(256))
    with console() as client, client.pexpect() as session:
        board.power("on")
        session.expect_exact(b"login: ", timeout=DEADLINE)
        session.send(sent)
        until(lambda: board.typed.endswith(sent))  # every byte, and no command of ours
        assert b"console" not in board.typed
        until(lambda: board.shell.is_console)
        session.send(b"again\n")
        session.expect_exact(b"again", timeout=DEADLINE)
        assert b"Exiting" not in session.before and b"#>" not in session.before


def test_the_shell_is_left_when_somebody_entered_it(board: DutlinkBoard) -> None:
    with console() as client, client.pexpect() as session:
        board.shell.is_console = False
        board.power("on")
        client.call("force_console_mode")
        until(lambda: board.shell.is_console)
        session.send(b"hello\n")
        session.expect_exact(b"hello", timeout=DEADLINE)


def test_what_the_uart_has_not_is_said(board: DutlinkBoard) -> None:
    with console() as client:
        for method, argument in (("send_break", 0.1), ("set_dtr", True), ("set_rts", True), ("set_baudrate", 9600)):
            with pytest.raises(DriverMethodNotImplemented, match="the UART of a DUTLink has no"):
                client.call(method, argument)


@pytest.mark.kernel
def test_unplugged_and_plugged_in_during_a_session(usb_bench: Bench, board: DutlinkBoard) -> None:
    with console(on_unplug="mark") as client, client.pexpect() as session:
        board.power("on")
        session.expect_exact(b"login: ", timeout=DEADLINE)
        usb_bench.unplug(board)
        until(lambda: not client.call("status")["open"])
        usb_bench.plug(board)
        until(lambda: client.call("status")["open"])
        board.power("on")
        session.expect_exact(b"login: ", timeout=DEADLINE)


def test_a_board_that_comes_back_in_its_bootloader_first(usb_bench: Bench, board: DutlinkBoard) -> None:
    bootloader = DutlinkBootloader()
    with console(on_unplug="mark") as client, client.pexpect() as session:
        usb_bench.unplug(board)
        until(lambda: not client.call("status")["open"])
        usb_bench.plug(bootloader)
        time.sleep(0.5)  # it is looked at meanwhile
        assert not client.call("status")["open"]
        usb_bench.unplug(bootloader)
        usb_bench.plug(board)
        until(lambda: client.call("status")["open"])
        board.power("on")
        session.expect_exact(b"login: ", timeout=DEADLINE)


def test_a_stream_ends_with_the_reason_when_the_board_is_gone(usb_bench: Bench, board: DutlinkBoard) -> None:
    with console() as client, client.stream() as stream:
        usb_bench.unplug(board)
        with pytest.raises(Exception, match="console dutlink-board lost"):
            while stream.receive():
                pass


def test_no_serial_port(usb_bench: Bench, board: DutlinkBoard) -> None:
    if isinstance(usb_bench, KernelBench):
        pytest.skip("the kernel of the lab has cdc_acm built in")
    usb_bench.unplug(board)
    usb_bench.has_cdc_acm = False
    usb_bench.plug(board)
    with pytest.raises(Exception, match=r"c415a913.*has no serial port; load the kernel module cdc_acm"), console():
        pass
    with serve(DutlinkPower()) as client:  # what needs no port works
        client.call("on")
        assert board.is_powered


def test_port_that_another_program_has(usb_bench: Bench, board: DutlinkBoard) -> None:
    found = usb_bench.find(board)
    assert found is not None
    [path] = until(lambda: usb_bench.host.ttys(found))
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Exception, match=r"is in use by .*\(process \d+\).*; stop that program"), console():
            pass
        assert board.history == []
        assert board.typed == b""
    with console() as client, client.pexpect() as session:
        board.power("on")
        session.expect_exact(b"login: ", timeout=DEADLINE)


def test_no_permission_for_the_serial_port(usb_bench: Bench, board: DutlinkBoard, tmp_path: Path) -> None:
    if not isinstance(usb_bench, FakeBench) or os.geteuid() != 0:
        pytest.skip("needs to mount a file system whose devices may not be opened, and a port to replace")
    tty, folder = usb_bench.host.dev / "ttyACM0", tmp_path / "forbidden"
    with tmpfs(folder, "1m,nodev"):  # even root may not
        os.mknod(folder / "tty", 0o600 | stat.S_IFCHR, os.makedev(5, 0))
        tty.unlink()
        tty.symlink_to(folder / "tty")
        with (
            pytest.raises(Exception, match=r"ttyACM0.*permission denied; add the exporter's user to .*dialout"),
            console(),
        ):
            pass
    assert board.history == []


def test_usb_console_of_the_dut(usb_bench: Bench, board: DutlinkBoard) -> None:
    if usb_bench.is_real:
        pytest.skip("the links are udev's")
    folder = usb_bench.host.dev / "serial/by-id"
    board.fields["usb_console"] = b"Debug_Chip"
    with (
        pytest.raises(Exception, match=r"no serial port has 'Debug_Chip' in its name"),
        console(),
    ):
        pass
    folder.mkdir(parents=True, exist_ok=True)
    with FakeSerial(folder / "usb-Debug_Chip_1-if00", answer=bytes.upper), console() as client:
        client.call("send_break", 0.01)
        with client.pexpect() as session:
            session.send(b"hello")
            session.expect_exact(b"HELLO", timeout=DEADLINE)


def test_alternate_console_needs_no_power_at_the_start(usb_bench: Bench, board: DutlinkBoard, tmp_path: Path) -> None:
    port = FakeSerial(tmp_path / "ttyDUT")
    with serve(Dutlink(alternate_console=port.path)) as client:
        dutlink: Any = client
        assert board.history == []
        with pytest.raises(DriverError, match=r"ttyDUT is not there"), dutlink.console.stream():
            pass
        dutlink.power.on()
        with port:
            until(lambda: dutlink.console.call("status")["open"])
            with dutlink.console.pexpect() as session:
                port.send(b"hello from the other port\n")
                session.expect_exact(b"other port", timeout=DEADLINE)
