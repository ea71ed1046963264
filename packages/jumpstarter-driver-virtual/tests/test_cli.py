"""The commands, against a board on the same machine; those that want a terminal get a real one."""

import signal
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jumpstarter.common.utils import serve
from jumpstarter_driver_virtual.backstage import Backstage
from jumpstarter_driver_virtual.client import VirtualBoardClient
from jumpstarter_driver_virtual.driver import VirtualBoard
from jumpstarter_testing.commands import J, Terminal

PATIENCE = 60


@pytest.fixture
def client() -> Generator[VirtualBoardClient]:
    with serve(VirtualBoard(boot_seconds=0.1, autoboot_seconds=0.05)) as client:
        assert isinstance(client, VirtualBoardClient)
        yield client


def j(client: VirtualBoardClient, *args: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(client.cli(), args, input=typed, standalone_mode=False)


def output(client: VirtualBoardClient, *args: str) -> str:
    result = j(client, *args)
    assert result.exception is None, result.exception
    return result.stdout


def test_the_board_tells_its_state_and_faults(client: VirtualBoardClient):
    assert "stage: off\n" in output(client, "state")
    output(client, "inject", "boot-hang")
    output(client, "inject", "power-drop")
    assert output(client, "faults") == "boot-hang\npower-drop\n"
    output(client, "clear", "boot-hang")
    assert output(client, "faults") == "power-drop\n"
    output(client, "clear")
    assert "faults: none\n" in output(client, "state")
    assert "boot-hang" in str(j(client, "inject", "fire").exception)


def test_button_led_and_page(client: VirtualBoardClient):
    output(client, "button", "press")
    assert output(client, "button", "read") == "active\n"
    output(client, "button", "release")
    output(client, "power", "on")
    output(client, "led", "wait-for-active", "-t", "5")
    assert output(client, "led", "read") == "active\n"
    assert '"simulated": true' in output(client, "http", "get", "/status.json")
    output(client, "power", "off")
    output(client, "led", "wait-for-inactive")
    assert isinstance(j(client, "led", "wait-for-active", "-t", "0").exception, TimeoutError)


def test_flash_and_dump(client: VirtualBoardClient, tmp_path: Path):
    (tmp_path / "image").write_bytes(b"image")
    assert output(client, "storage", "flash", str(tmp_path / "image")).startswith("wrote 5 bytes, sha256 ")
    assert output(client, "storage", "dump", str(tmp_path / "copy")).startswith("read 5 bytes, sha256 ")
    assert (tmp_path / "copy").read_bytes() == b"image"
    for position in ("host", "off", "dut"):
        output(client, "storage", position)
        assert output(client, "storage", "state") == f"{position}\n"
    assert "does not exist" in str(j(client, "storage", "flash", "/nonexistent").exception)


def test_pipe_ends_with_the_text_and_not_after_it(client: VirtualBoardClient, tmp_path: Path):
    log = tmp_path / "log"
    starting = threading.Timer(0.2, client.power.on)
    starting.start()
    said = output(client, "console", "pipe", "--no-input", "--until", "Starting", "--timeout", "5", "-o", str(log))
    assert "firmware 1.0" in said
    assert said.endswith("Starting")
    assert log.read_bytes().endswith(b"Starting")
    starting.join()


def test_pipe_gives_up_after_its_time(client: VirtualBoardClient):
    result = j(client, "console", "pipe", "--no-input", "--until", "login:", "--timeout", "0.1")
    assert isinstance(result.exception, TimeoutError)
    assert "no 'login:' within 0.1 s" in str(result.exception)
    assert output(client, "console", "pipe", "--no-input", "--timeout", "0.1") == ""


@pytest.mark.parametrize("options", [("--no-input", "--input"), ("--no-input", "--no-output"), ("--append",)])
def test_pipe_refuses_what_excludes_each_other(client: VirtualBoardClient, options: tuple[str, ...]):
    assert isinstance(j(client, "console", "pipe", *options).exception, Exception)


def test_start_console_wants_a_terminal(client: VirtualBoardClient):
    assert "not a terminal; use pipe" in str(j(client, "console", "start-console", typed="").exception)


@pytest.fixture
def backstage(tmp_path: Path) -> Generator[Backstage]:
    """Run an exporter of its own, with the commands of its users."""
    with Backstage() as backstage:
        config = (
            "apiVersion: jumpstarter.dev/v1alpha1\nkind: ExporterConfig\n"
            "metadata: {namespace: default, name: test}\nexport:\n"
            "  board: {type: jumpstarter_driver_virtual.driver.VirtualBoard, config: {boot_seconds: 0.2}}\n"
        )
        (backstage.folder / "test.yaml").write_text(config)
        backstage.start_exporter("jmp run --exporter-config test.yaml")
        yield backstage


def test_what_is_piped_in_is_sent_completely(backstage: Backstage):
    with backstage.console("login:"):
        backstage.run("j board power on")
    pipe = [*J, "board", "console", "pipe"]
    for _ in range(2):
        sent = subprocess.run(
            [*pipe, "--no-output"], input=b"root\rled off\rexit\r", env=backstage.environment, check=False
        )
        assert sent.returncode == 0
        backstage.run("j board led wait-for-inactive -t 5")
        answered = subprocess.run(
            [*pipe, "--until", "# led on\r\nled on", "--timeout", "5"],
            input=b"root\rled on\rexit\r",
            stdout=subprocess.PIPE,
            env=backstage.environment,
            check=False,
        )
        assert answered.returncode == 0, answered.stdout


def test_pipe_ends_in_silence_by_control_c(backstage: Backstage):
    for _ in range(5):
        pipe = subprocess.Popen(
            [*J, "board", "console", "pipe"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=backstage.environment
        )
        assert pipe.stderr is not None
        assert pipe.stderr.readline() == b"console open; Ctrl-C ends it\n"
        pipe.send_signal(signal.SIGINT)
        assert (pipe.communicate(timeout=PATIENCE)[1], pipe.returncode) == (b"", 0)


def test_start_console_passes_keys_on_until_control_b_three_times(backstage: Backstage):
    terminal = Terminal([*J, "board", "console", "start-console"], backstage.environment)
    try:
        terminal.read_until(b"leave it")
        backstage.run("j board power on")
        terminal.read_until(b"login: ")
        terminal.type(b"root\r")
        terminal.read_until(b"# ")
        terminal.type(b"echo a\x02\x02\r")
        terminal.read_until(b"\r\na\r\n")
        terminal.type(b"\x02\x02\x02")
        terminal.read_until(b"console left")
        assert terminal.process.wait(PATIENCE) == 0
    finally:
        terminal.close()
