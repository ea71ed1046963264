"""A USB serial adapter on a real kernel, in the lab (scripts/lab test): lines, unplugging, and being found again."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter.streams.blocking import BlockingStream
from jumpstarter_driver_serial.client import PySerialClient
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_serial.failure import ExpectError
from jumpstarter_driver_serial.identity import stable_name
from jumpstarter_testing.commands import PATIENCE, Commands
from jumpstarter_testing.usb.ftdi import FtdiAdapter
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

pytestmark = [
    pytest.mark.skipif("JMP_LAB" not in os.environ, reason="it needs the lab: scripts/lab test"),
    pytest.mark.timeout(120),
]

ASYNC_LOW_LATENCY = 1 << 13
"""linux/tty_flags.h"""

BY_ID = "/dev/serial/by-id/usb-FTDI_FT230X_Basic_UART_{}-if00-port0"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def bench() -> Generator[KernelBench]:
    with KernelBench() as bench:
        yield bench


@pytest.fixture
def adapter(bench: KernelBench) -> FtdiAdapter:
    adapter = FtdiAdapter("A1")
    adapter.echoes = True
    bench.plug(adapter)
    until(lambda: Path(BY_ID.format("A1")).exists(), "the link of the adapter")
    return adapter


def tty(serial: str) -> str:
    return str(Path(BY_ID.format(serial)).resolve())


def received(stream: BlockingStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += stream.receive()
    return data


def test_bytes_and_lines_without_opening_it_anew(adapter: FtdiAdapter) -> None:
    with serve(PySerial(url=BY_ID.format("A1"))) as client, client.stream() as stream:
        every = bytes(range(256)) * 8
        stream.send(every)
        assert received(stream, len(every)) == every
        opened = len(adapter.lines)
        client.call("set_dtr", False)
        client.call("set_rts", False)
        client.call("send_break", 0.1)
        client.call("set_baudrate", 9600)
        after = adapter.lines[opened:]
        assert after[:2] == ["dtr 0", "rts 0"]
        assert "break 1" in after
        assert after[-1] == "break 0"
        stream.send(b"still there")
        assert received(stream, 11) == b"still there"


@pytest.mark.parametrize(("low_latency", "milliseconds"), [(True, 1), (False, 16)])
def test_a_quick_adapter_passes_bytes_on_at_once(adapter: FtdiAdapter, low_latency: bool, milliseconds: int) -> None:
    timer = Path("/sys/bus/usb-serial/devices", Path(tty("A1")).name, "latency_timer")
    with serve(PySerial(url=BY_ID.format("A1"), low_latency=low_latency)) as client, client.stream() as stream:
        until(lambda: adapter.latency == milliseconds, "the adapter is told")
        assert int(timer.read_text()) == milliseconds
        port = os.open(tty("A1"), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)  # which only root can: it is exclusive
        state = bytearray(72)  # struct serial_struct of linux/serial.h, whose flags are its fifth int
        fcntl.ioctl(port, termios.TIOCGSERIAL, state)
        os.close(port)
        assert bool(struct.unpack_from("5i", state)[4] & ASYNC_LOW_LATENCY) is low_latency
        stream.send(b"x")
        assert received(stream, 1) == b"x"


def test_unplugged_and_plugged_in_again(bench: KernelBench, adapter: FtdiAdapter) -> None:
    with serve(PySerial(url=BY_ID.format("A1"))) as client:
        assert isinstance(client, PySerialClient)
        with client.attach(unplug="wait=60") as waits, client.attach(unplug="mark") as marks:
            for attached in (waits, marks):
                attached.give()
            with pytest.raises(DriverError, match="lost at"), client.stream() as fails:
                bench.unplug(adapter)
                fails.receive()
            with pytest.raises(ExpectError, match="lost at"):
                client.expect("never", timeout=20)
            bench.plug(adapter)
            until(lambda: client.status()["open"], "the port is open again", 40)
            adapter.say(b"after")
            for attached in (waits, marks):
                kinds: list[str] = []
                data = b""
                while data != b"after":
                    item = attached.receive()
                    kinds.append(str(getattr(item, "kind", "")))
                    data += getattr(item, "data", b"")
                assert kinds[:2] == ["lost", "back"]


def test_it_is_found_again_although_its_number_is_another_adapters(bench: KernelBench, adapter: FtdiAdapter) -> None:
    before = tty("A1")
    with serve(PySerial(url=before, on_unplug="wait=60")) as client, client.stream() as stream:
        bench.unplug(adapter)
        until(lambda: not client.call("status")["open"], "the loss is seen")
        until(lambda: not Path(before).exists(), "the tty is gone")
        other = FtdiAdapter("B2")
        bench.plug(other)
        until(lambda: Path(BY_ID.format("B2")).exists(), "the other's link")
        assert tty("B2") == before, "the kernel gives the number to the next"
        time.sleep(1)
        assert not client.call("status")["open"], "not the wrong device"
        bench.plug(adapter)
        until(lambda: client.call("status")["open"], "the port is open again", 40)
        stream.send(b"hello")
        assert received(stream, 5) == b"hello"
        assert bytes(other.heard) == b""


def test_a_serial_number_that_two_have_names_nobody(bench: KernelBench, adapter: FtdiAdapter) -> None:
    assert stable_name(tty("A1")) == BY_ID.format("A1")
    twin = FtdiAdapter("A1")
    bench.plug(twin, hub=1)
    until(lambda: len(list(Path("/dev/serial/by-path").iterdir())) >= 2, "both are there")
    ports = [str(path) for path in Path("/dev").glob("ttyUSB*")]
    assert len(ports) == 2
    assert all("/by-path/" in stable_name(port) for port in ports)
    assert len({stable_name(port) for port in ports}) == 2


def test_a_script_waits_over_a_replug(bench: KernelBench, adapter: FtdiAdapter) -> None:
    with serve(PySerial(url=BY_ID.format("A1"), on_unplug="wait=60")) as client:
        assert isinstance(client, PySerialClient)

        def replug() -> None:
            bench.unplug(adapter)
            until(lambda: not Path(BY_ID.format("A1")).exists(), "it is gone")
            bench.plug(adapter)
            until(lambda: client.status()["open"], "the port is open again", 40)
            adapter.say(b"login: ")

        thread = threading.Timer(0.5, replug)
        thread.start()
        assert client.expect("login: ", timeout=80).ok
        thread.join()


@pytest.fixture
def commands(adapter: FtdiAdapter) -> Generator[Commands]:
    with tempfile.TemporaryDirectory(prefix="jmp") as folder:
        config = f"{{url: {BY_ID.format('A1')}}}"
        commands = Commands(
            Path(folder), f"  serial: {{type: jumpstarter_driver_serial.driver.PySerial, config: {config}}}\n"
        )
        yield commands
        commands.stop()


def test_commands_when_the_adapter_is_unplugged(bench: KernelBench, adapter: FtdiAdapter, commands: Commands) -> None:
    opened = b"console open; Ctrl-C ends it"
    fails, waits, marks = (
        commands.start("serial", "pipe", "--no-input", *policy, until=opened)
        for policy in ((), ("--unplug", "wait=60"), ("--unplug", "mark"))
    )
    expects = threading.Thread(target=lambda: answers.append(commands.run("serial", "expect", "never")), daemon=True)
    answers: list[subprocess.CompletedProcess[bytes]] = []
    with commands.terminal("serial", "console") as terminal:
        terminal.read_until(b"\x07")
        expects.start()
        adapter.say(b"before ")
        terminal.read_until(b"before ")
        bench.unplug(adapter)
        terminal.read_until(b"[console lost at ")
        out, err = fails.communicate(timeout=PATIENCE)
        assert (out, fails.returncode) == (b"before ", 70)
        assert re.search(rb"lost at \d\d:\d\d:\d\d\.\d+: (unplugged|it hung up)", err), err
        expects.join(PATIENCE)
        assert answers[0].returncode == 70
        assert b"lost at" in answers[0].stderr
        bench.plug(adapter)
        terminal.read_until(b"[console back after")
        adapter.say(b"after")
        terminal.read_until(b"after")
        terminal.type(b"\x1dq")
        terminal.read_until(b"console left")
        assert terminal.process.wait(PATIENCE) == 0
    for goes_on in (waits, marks):
        assert goes_on.stdout is not None
        assert goes_on.stdout.read(12) == b"before after"
        goes_on.send_signal(signal.SIGINT)
        out, err = goes_on.communicate(timeout=PATIENCE)
        assert goes_on.returncode == 0, err
        assert re.search(
            rb"\[console lost at .*: (?:unplugged|it hung up)\]\n\[console back after .* s, at .*\]", err
        ), err
