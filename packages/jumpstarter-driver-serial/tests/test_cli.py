"""The commands, against an exporter of its own; those that want a terminal get a real one."""

import fcntl
import re
import signal
import struct
import subprocess
import tempfile
import termios
import threading
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from jumpstarter_testing.commands import PATIENCE, Commands, Terminal
from jumpstarter_testing.serial import FakeSerial
from jumpstarter_testing.waiting import until

pytestmark = pytest.mark.timeout(120)


class Lab(Commands):
    """An exporter with a console, and the commands of its users."""

    def __init__(self, folder: Path, device: FakeSerial) -> None:
        self.device = device
        super().__init__(
            folder, f"  serial: {{type: jumpstarter_driver_serial.driver.PySerial, config: {{url: {device.path}}}}}\n"
        )

    def pipe(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `j serial pipe`, and wait until the console is open."""
        return self.start("serial", "pipe", *arguments, until=b"console open; Ctrl-C ends it")

    def wait_until_open(self, wanted: str = "yes") -> None:
        until(lambda: f"open: {wanted}\n" in self.output("serial", "status"), f"open: {wanted}", PATIENCE)

    def replug(self) -> None:
        self.device.unplug()
        self.wait_until_open("no")
        self.device.plug()
        self.wait_until_open()


@pytest.fixture
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="jmp") as folder:  # short: the path of a socket has to fit
        yield Path(folder)


@pytest.fixture
def lab(folder: Path, device: FakeSerial) -> Generator[Lab]:
    lab = Lab(folder, device)
    yield lab
    lab.stop()


@pytest.fixture
def terminal(lab: Lab) -> Generator[Terminal]:
    """`j serial console` on a terminal of its own."""
    with lab.terminal("serial", "console") as terminal:
        yield terminal


@pytest.fixture
def others() -> Generator[ExitStack]:
    """More of them, until the end of the test."""
    with ExitStack() as stack:
        yield stack


def test_log_and_pipe_and_send(lab: Lab, folder: Path) -> None:
    lab.device.send(b"boot 1\r\nboot 2\r\n")
    lab.output("serial", "expect", "boot 2", "--since", "start", "--timeout", "20")
    assert lab.output("serial", "log") == "boot 1\r\nboot 2\r\n"
    assert lab.output("serial", "log", "--since", "8") == "boot 2\r\n"
    stamped = lab.output("serial", "log", "--timestamps").splitlines()
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} boot \d", line) for line in stamped)
    assert lab.output("serial", "mark") == "16\n"
    assert lab.output("serial", "send", "help") == ""
    assert lab.device.receive_until(b"help\r") == b"help\r"
    assert lab.output("serial", "pipe", "--since", "boot", "--until", "help", "--no-input") == "help"
    assert lab.output("serial", "pipe", "--no-output", input=b"x" * 100_000) == ""
    assert lab.device.receive_until(b"x" * 100_000)
    piped = lab.output("serial", "pipe", "--until", "typed", "-o", str(folder / "out"), input=b"this is typed")
    assert piped == (folder / "out").read_text() == "this is typed"
    assert [path.read_bytes()[:16] for path in (folder / "jumpstarter/consoles").glob("*.log")] == [
        b"boot 1\r\nboot 2\r\n"
    ]


def test_expect_says_what_came_instead(lab: Lab, folder: Path) -> None:
    lab.device.send(b"Kernel panic\r\n")
    missing = lab.run("serial", "expect", "login:", "--since", "start", "--timeout", "0.5")
    assert missing.returncode == 70
    assert missing.stdout == b"Kernel panic\r\n"
    assert b"no 'login:' within 0.5 s; the last that came is 'Kernel panic" in missing.stderr
    (folder / "script.yaml").write_text("- line: echo hi\n- wait: hi\n  timeout: 20\n")
    assert lab.output("serial", "expect", "--script", str(folder / "script.yaml")).startswith("echo hi")
    (folder / "wrong.yaml").write_text("- wiat: hi\n")
    wrong = lab.run("serial", "expect", "--script", str(folder / "wrong.yaml"))
    assert wrong.returncode == 2
    assert b"step 1" in wrong.stderr
    assert lab.run("serial", "expect").returncode == 2


def test_pipe_says_what_was_refused(lab: Lab, terminal: Terminal) -> None:
    terminal.read_until(b"\x07")
    terminal.type(b"mine")
    lab.device.receive_until(b"mine")
    refused = lab.run("serial", "pipe", "--no-output", input=b"not sent")
    assert refused.returncode == 75
    assert b": 8 bytes were refused; take over (--take)\n" in refused.stderr
    assert lab.output("serial", "pipe", "--no-output", "--take", input=b"sent") == ""


def test_pipe_when_the_port_is_lost(lab: Lab) -> None:
    fails, waits, marks = (
        lab.pipe(),
        lab.pipe("--unplug", "wait=30"),
        lab.pipe("--unplug", "mark"),
    )
    gives_up = lab.pipe("--unplug", "wait=0")
    lab.device.send(b"before ")
    lab.output(
        "serial", "expect", "before ", "--since", "start"
    )  # what the driver has not read is lost with the device
    lab.replug()
    lab.device.send(b"after")
    out, err = fails.communicate(timeout=PATIENCE)
    assert (out, fails.returncode) == (b"before ", 70)
    assert re.search(rb"lost at \d\d:\d\d:\d\d\.\d+: unplugged", err), err
    out, err = gives_up.communicate(timeout=PATIENCE)
    assert (out, gives_up.returncode) == (b"before ", 70)
    assert b"did not come back within 0 s" in err
    for goes_on in (waits, marks):
        assert goes_on.stdout is not None
        assert goes_on.stdout.read(12) == b"before after"
        goes_on.send_signal(signal.SIGINT)
        out, err = goes_on.communicate(timeout=PATIENCE)
        assert goes_on.returncode == 0, err
        assert re.search(rb"\[console lost at .*: unplugged\]\n\[console back after .* s, at .*\]", err), err


def test_expect_when_the_port_is_lost(lab: Lab) -> None:
    timer = threading.Timer(1.0, lab.device.unplug)
    timer.start()
    lost = lab.run("serial", "expect", "never", "--timeout", "25")
    timer.join()
    assert lost.returncode == 70
    assert b"lost at" in lost.stderr


def test_console_in_a_terminal(lab: Lab, terminal: Terminal) -> None:
    shown = terminal.read_until(b"\x07")
    assert b"Ctrl-] and q leave it" in shown
    assert b"\x1b]0;" in shown, "the window has a title"
    terminal.type(b"hello\r")
    terminal.read_until(b"hello\r")
    lab.device.receive_until(b"hello\r")
    lab.device.send(b"\x1b]52;c;evil\x07\x1b[31mred\x1b[0m\r\n")
    assert b"evil" not in terminal.read_until(b"\x1b[31mred\x1b[0m")
    terminal.type(b"\x1d?")
    terminal.read_until(b"s sends the size")
    terminal.type(b"\x1ds")
    lab.device.receive_until(b"stty rows ")
    terminal.type(b"\x1d\x1d")
    assert lab.device.receive_until(b"\x1d").endswith(b"\x1d")
    terminal.type(b"\x1dq")
    terminal.read_until(b"console left")
    assert terminal.process.wait(PATIENCE) == 0
    assert terminal.is_as_before()


def test_the_device_is_told_the_size_of_the_terminal(lab: Lab) -> None:
    with lab.terminal("serial", "console", "--resize") as terminal:
        terminal.read_until(b"\x07")
        fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("4H", 33, 111, 0, 0))
        lab.device.receive_until(b"stty rows 33 cols 111\r")


def test_a_log_is_followed_until_control_c(lab: Lab) -> None:
    lab.device.send(b"before\r\n")
    with lab.terminal("serial", "log", "--follow", "--since", "start") as terminal:
        terminal.read_until(b"before")
        lab.device.send(b"after\r\n")
        terminal.read_until(b"after")
        terminal.type(b"\x03")
        shown = terminal.read_to_end()
        assert terminal.process.returncode == 0, shown


def test_console_when_the_port_is_lost(lab: Lab, terminal: Terminal) -> None:
    terminal.read_until(b"\x07")
    lab.device.unplug()
    terminal.read_until(b": unplugged]")
    terminal.type(b"x")
    terminal.read_until(b"what you type is not sent]")
    lab.device.plug()
    terminal.read_until(b"[console back after")
    terminal.type(b"again")
    terminal.read_until(b"again")
    terminal.type(b"\x02\x02\x02")
    assert terminal.process.wait(PATIENCE) == 0


def test_two_consoles_and_who_writes(lab: Lab, terminal: Terminal, others: ExitStack) -> None:
    first = terminal
    first.read_until(b"\x07")
    first.type(b"a")
    first.read_until(b"a")
    second = others.enter_context(lab.terminal("serial", "console"))
    second.read_until(b"[console written to by ")
    second.type(b"b")
    second.read_until(b"take over (--take)]")
    second.type(b"\x1dt")
    first.read_until(b"writes now, taken from")
    second.type(b"c")
    second.read_until(b"c")
    first.read_until(b"c")
    refused = lab.run("serial", "send", "d")
    assert refused.returncode == 75
    assert b"is written to by" in refused.stderr
    assert lab.output("serial", "send", "--take", "e") == ""
    assert b"b" not in lab.device.received()
    assert b"d" not in lab.device.received()


@pytest.mark.alone
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_console_that_is_ended_leaves_the_terminal_as_it_was(
    lab: Lab, terminal: Terminal, signum: signal.Signals, status: int
) -> None:
    terminal.read_until(b"\x07")
    lab.device.send(b"\x1b[?1049h\x1b[?25l")
    terminal.read_until(b"\x1b[?25l")
    assert not terminal.is_as_before()
    terminal.process.send_signal(signum)
    rest = terminal.read_until(b"\x1b[23;0t")
    assert b"\x1b[?1049l" in rest
    assert b"\x1b[?25h" in rest
    assert terminal.process.wait(PATIENCE) == status
    assert terminal.is_as_before()
    assert "writer: none" in lab.output("serial", "status")


def test_a_closed_terminal_ends_the_console(lab: Lab, terminal: Terminal) -> None:
    terminal.read_until(b"\x07")
    terminal.hang_up()
    assert terminal.process.wait(PATIENCE) == 129
    assert "writer: none" in lab.output("serial", "status")


def test_a_second_interrupt_does_not_leave_the_terminal_as_the_device_had_it(lab: Lab, terminal: Terminal) -> None:
    terminal.read_until(b"\x07")
    lab.device.send(b"\x1b[?1049h\x1b[?25l")
    terminal.read_until(b"\x1b[?25l")
    terminal.process.send_signal(signal.SIGINT)
    terminal.process.send_signal(signal.SIGINT)
    rest = terminal.read_until(b"\x1b[23;0t")
    assert b"\x1b[?1049l" in rest
    assert b"\x1b[?25h" in rest
    assert terminal.process.wait(PATIENCE) == 130
    assert terminal.is_as_before()
    assert "writer: none" in lab.output("serial", "status")
