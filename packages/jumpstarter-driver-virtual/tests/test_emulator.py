"""The board as plain Python, over its real pseudo-terminal."""

import hashlib
import os
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumpstarter_driver_virtual.emulator import FACTORY_IMAGE, Board, Position, Stage

PATIENCE = 60
"""Seconds after which a test gives up; nothing takes that long unless it is broken."""


class Console:
    """The other end of the serial line, opened like any serial device."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._fd)
        self._unread = b""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def expect(self, text: str, timeout: float = PATIENCE) -> str:
        """Read until `text` comes, and return what came up to its end."""
        deadline = time.monotonic() + timeout
        while text.encode() not in self._unread:
            data = self._receive(deadline - time.monotonic())
            assert data, f"no {text!r} in {self._unread!r}"
            self._unread += data
        before, found, self._unread = self._unread.partition(text.encode())
        return (before + found).decode(errors="replace")

    def listen(self, seconds: float) -> bytes:
        """Return all that comes within a time."""
        deadline = time.monotonic() + seconds
        heard, self._unread = self._unread, b""
        while data := self._receive(deadline - time.monotonic()):
            heard += data
        return heard

    def log_in(self) -> None:
        self.expect("login: ")
        self.type("root\r")
        self.expect("# ")

    def run(self, command: str) -> str:
        """Run a shell command and return its output."""
        self.type(f"{command}\r")
        self.expect(f"{command}\r\n")
        return self.expect("root@virtual-board:~# ").removesuffix("root@virtual-board:~# ").replace("\r\n", "\n")

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def _receive(self, timeout: float) -> bytes:
        readable, _, _ = select.select([self._fd], [], [], max(0.0, timeout))
        return os.read(self._fd, 4096) if readable else b""


MakeBoard: TypeAlias = Callable[..., Board]


@contextmanager
def opened(board: Board) -> Generator[Console]:
    console = Console(board.console_path)
    try:
        yield console
    finally:
        console.close()


@pytest.fixture
def make_board() -> Generator[MakeBoard]:
    """Make boards that boot in a fraction of a second."""
    boards: list[Board] = []

    def make(**options: object) -> Board:
        board = Board(**{"boot_seconds": 0.1, "autoboot_seconds": 0.05, **options})  # pyright: ignore[reportArgumentType]
        boards.append(board)
        return board

    yield make
    for board in boards:
        board.close()


@pytest.fixture
def board(make_board: MakeBoard) -> Board:
    return make_board()


@pytest.fixture
def console(board: Board) -> Generator[Console]:
    with opened(board) as console:
        yield console


def test_power_on_boots_to_a_login_with_rising_time_stamps(board: Board, console: Console):
    board.power_on()
    log = console.expect("login: ")
    assert "simulated board" in log
    stamps = [float(line[1:13]) for line in log.splitlines() if line.startswith("[")]
    assert len(stamps) > 10
    assert stamps == sorted(stamps)
    assert board.stage == Stage.BOOTED


def test_the_same_seed_gives_the_same_log_and_another_seed_another_one(make_board: MakeBoard):
    logs: list[str] = []
    for seed in (1, 1, 2):
        board = make_board(seed=seed)
        with opened(board) as console:
            board.power_on()
            logs.append(console.expect("login: "))
    assert logs[0] == logs[1] != logs[2]


def test_a_second_power_on_changes_nothing(board: Board, console: Console):
    board.power_on()
    console.log_in()
    board.power_on()
    assert "up " in console.run("uptime")


def test_the_console_is_silent_from_power_off_on(make_board: MakeBoard):
    board = make_board(boot_seconds=0.5)
    with opened(board) as console:
        board.power_on()
        console.expect("ttyS0")
        board.power_off()
        console.listen(0)
        assert console.listen(0.3) == b""
        console.type("\r")
        assert console.listen(0.1) == b""


def test_what_is_typed_while_off_is_lost(board: Board, console: Console):
    console.type("xyz")
    board.power_on()
    assert "login: " in console.expect("login: ")  # none of it was taken for a key that stops the boot


def test_what_nobody_reads_is_lost_and_does_not_stop_the_board(board: Board):
    path = board.console_path
    for _ in range(5):
        board.power_on()
        board.wait_for(Stage.BOOTED, PATIENCE)
        board.power_off()
    assert path == board.console_path


def test_a_key_stops_the_boot_at_a_prompt_with_commands(make_board: MakeBoard):
    board = make_board(autoboot_seconds=30)
    with opened(board) as console:
        board.power_on()
        console.expect("Press any key to stop autoboot")
        console.type(" ")
        console.expect("=> ")
        assert board.stage == Stage.PROMPT
        for command, answer in [
            ("help", "printenv  - print the environment"),
            ("printenv", "bootdelay=30"),
            ("foo", "Unknown command 'foo'"),
        ]:
            console.type(f"{command}\r")
            assert answer in console.expect("=> ")
        console.type("reset\r")
        console.expect("firmware 1.0")
        console.expect("Press any key")
        console.type("\r")
        console.expect("=> ")
        console.type("boot\r")
        console.expect("login: ")


def test_a_key_before_the_countdown_counts(make_board: MakeBoard):
    board = make_board(autoboot_seconds=0)
    with opened(board) as console:
        board.power_on()
        console.expect("firmware 1.0")
        console.type(" ")
        console.expect("=> ")


def test_the_shell_knows_its_commands(board: Board, console: Console):
    board.power_on()
    console.log_in()
    digest = hashlib.sha256(FACTORY_IMAGE).hexdigest()
    assert "reboot" in console.run("help")
    assert console.run("uname -a").startswith("SimulatedOS ")
    assert console.run("cat /etc/image") == f"size=4096\nsha256={digest}\n"
    assert "No such file" in console.run("cat /nope")
    assert console.run("echo a  b") == "a b\n"
    assert console.run("led") == "on\n"
    assert console.run("led off") == "led off\n"
    assert not board.led
    assert "cannot do that" in console.run("rm -rf /")
    assert "not a number" in console.run("stress much")
    console.type("exit\r")
    console.expect("login: ")
    console.type("guest\r")
    console.expect("Login incorrect")


def test_the_line_editor_rubs_out_and_starts_over(board: Board, console: Console):
    board.power_on()
    console.log_in()
    console.type("xx\x7f\x7f\x7fecho 1\x15echo 2\x1b[A3\x033\x08echo 4\n")
    assert console.expect("# ").endswith("# ")  # the new prompt after Ctrl-C
    assert "\r\n4\r\n" in console.expect("# ")


def test_reboot_starts_again_and_poweroff_stops(board: Board, console: Console):
    board.power_on()
    console.log_in()
    console.type("reboot\r")
    console.expect("Restarting system")
    console.log_in()
    console.type("poweroff\r")
    console.expect("System halted")
    board.wait_for(Stage.HALTED, PATIENCE)
    assert not board.led
    assert board.reading()[1] < 0.05
    console.type("\r")
    assert console.listen(0.1).strip() == b""


def test_the_button_is_reported_while_the_system_runs(board: Board, console: Console):
    board.set_button(True)  # not by a board that is off
    board.power_on()
    console.log_in()
    assert console.run("button") == "pressed\n"
    board.set_button(False)
    console.expect("gpio-keys: button released")
    board.set_button(False)
    board.set_button(True)
    assert "released" not in console.expect("gpio-keys: button pressed")


def test_the_current_tells_what_the_board_does(make_board: MakeBoard):
    board = make_board(boot_seconds=0.4)
    assert board.reading() == (0.0, 0.0)
    with opened(board) as console:
        board.power_on()
        inrush = board.reading()
        assert inrush[1] > 1.0
        console.expect("ttyS0")
        booting = board.reading()
        console.log_in()
        time.sleep(0.1)
        idle = board.reading()
        console.run("stress 5")
        load = board.reading()
        assert idle[1] < booting[1] < inrush[1]
        assert idle[1] < load[1]
        assert all(4.7 < volt < 5.2 for volt, _ in (inrush, booting, idle, load))
        board.power_off()
        assert board.reading() == (0.0, 0.0)


def test_the_board_boots_what_is_on_the_medium(make_board: MakeBoard, tmp_path: Path):
    medium = tmp_path / "medium.img"
    medium.write_bytes(os.urandom(3_000_000))
    digest = hashlib.sha256(medium.read_bytes()).hexdigest()
    board = make_board(medium=medium)
    with opened(board) as console:
        board.power_on()
        log = console.expect("login: ")
    assert f"Image: 3000000 bytes, sha256 {digest[:12]}" in log
    assert f"sha256 {digest}" in log
    assert board.state()["image"] == {"size": 3000000, "sha256": digest}


@pytest.mark.parametrize("position", [Position.HOST, Position.OFF])
def test_the_board_does_not_boot_a_medium_that_it_does_not_have(board: Board, console: Console, position: Position):
    board.move_medium(position)
    board.power_on()
    assert "no bootable medium" in console.expect("=> ")
    board.move_medium(Position.DUT)
    console.type("boot\r")
    console.expect("login: ")


def test_an_empty_or_missing_medium_is_not_bootable(make_board: MakeBoard, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.touch()
    for path in (empty, tmp_path / "missing"):
        board = make_board(medium=path)
        with opened(board) as console:
            board.power_on()
            assert "no bootable medium" in console.expect("=> ")


def test_the_host_uses_the_medium_only_in_its_own_position(board: Board):
    with pytest.raises(OSError, match="is at dut, not at host"):
        board.medium_at_host()
    board.move_medium(Position.HOST)
    assert board.medium_at_host().read_bytes() == FACTORY_IMAGE
    board.move_medium(Position.DUT)


def test_pulling_the_medium_is_reported_by_a_running_system(board: Board, console: Console):
    board.power_on()
    console.expect("login: ")
    board.move_medium(Position.HOST)
    console.expect("mmc0: medium removed")
    board.move_medium(Position.DUT)
    console.expect("mmc0: new medium with 4096 bytes")


def test_whoever_waits_for_the_led_is_told(board: Board, console: Console):
    with board.led_changes() as changes:
        board.power_on()
        deadline = time.monotonic() + PATIENCE
        while not board.led:
            assert select.select([changes], [], [], deadline - time.monotonic())[0]
            changes.recv(100)
    console.log_in()
    console.run("led off")
    assert not board.led


def test_reset_brings_the_board_back_to_its_start(board: Board, console: Console):
    board.power_on()
    console.expect("login: ")
    board.set_button(True)
    board.move_medium(Position.OFF)
    board.inject("boot-hang")
    board.reset()
    state = board.state()
    assert (state["stage"], state["button"], state["medium"], state["faults"]) == ("off", False, "dut", [])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"boot_seconds": -1}, "must not be negative"),
        ({"medium": "/"}, "is a directory"),
        ({"medium": "/nonexistent/medium.img"}, "/nonexistent does not exist"),
        ({"faults": ["boot-hangs"]}, "known are boot-hang, console-garbage, power-drop, medium-absent"),
    ],
)
def test_a_wrong_parameter_is_named(options: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        Board(**options)


def test_making_a_board_opens_nothing():
    before = open_files(), threading.active_count()
    board = Board()
    board.reset()
    assert (open_files(), threading.active_count()) == before
    board.close()


def test_close_gives_everything_back(make_board: MakeBoard):
    make_board().close()  # whatever Python opens once
    before = open_files(), threading.active_count()
    for _ in range(5):
        board = Board(boot_seconds=0.05, autoboot_seconds=0)
        folder = board.page_path.parent
        board.power_on()
        board.wait_for(Stage.BOOTED, PATIENCE)
        with socket.socket(socket.AF_UNIX) as sock, board.led_changes():
            sock.connect(str(board.page_path))
            board.close()
        board.close()
        assert not folder.exists()
        with pytest.raises(RuntimeError, match="closed"):
            board.power_on()
    assert (open_files(), threading.active_count()) == before


@settings(max_examples=60, deadline=None)
@given(typed=st.binary(min_size=1, max_size=200))
def test_no_bytes_on_the_console_harm_the_board(running: Board, typed: bytes):
    with opened(running) as console:
        os.write(console.fileno(), typed + b"\x03")
        running.stage  # noqa: B018 the thread is alive and answers


@pytest.fixture(scope="module")
def running() -> Generator[Board]:
    """Run one board for many examples."""
    board = Board(boot_seconds=0, autoboot_seconds=0)
    board.power_on()
    board.wait_for(Stage.BOOTED, PATIENCE)
    yield board
    board.power_off()
    board.power_on()
    board.wait_for(Stage.BOOTED, PATIENCE)
    board.close()


def open_files() -> int:
    """Return how many file descriptors this process has open."""
    folder = Path("/proc/self/fd")
    return len(list((folder if folder.is_dir() else Path("/dev/fd")).iterdir()))
