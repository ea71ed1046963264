"""A driver whose class only the exporter has: what `j` makes of it, on pipes and on a terminal."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from jumpstarter_testing.commands import Terminal

if TYPE_CHECKING:
    from conftest import Exporter, Lab

RELAY = '''\
from jumpstarter.driver import Driver, export


class Relay(Driver):
    """Relays of the left bench."""

    @export
    def toggle(self, channel: int, wait: float = 0.0) -> bool:
        """Switch a channel over; returns whether it is on now."""
        self.on = {*getattr(self, "on", ())} ^ {channel}
        return channel in self.on
'''

PANEL = '''\
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import create_memory_object_stream
from anyio.abc import ObjectStream
from anyio.streams.stapled import StapledObjectStream
from jumpstarter.driver import Driver, export, exportstream
from pydantic import SecretStr


class Counted(ObjectStream[bytes]):
    """Repeats what it gets in capitals and, when there is no more, says how much it was."""

    def __init__(self) -> None:
        self.send_stream, self.receive_stream = create_memory_object_stream[bytes](100)
        self.count = 0

    async def send(self, item: bytes) -> None:
        self.count += len(item)
        await self.send_stream.send(item.upper())

    async def send_eof(self) -> None:
        await self.send_stream.send(b"%d bytes\\n" % self.count)
        self.send_stream.close()

    async def receive(self) -> bytes:
        return await self.receive_stream.receive()

    async def aclose(self) -> None:
        self.send_stream.close()
        self.receive_stream.close()


class Panel(Driver):
    """A panel of lamps."""

    @classmethod
    def client(cls) -> str:
        return "lab_panel_client.PanelClient"

    @export
    def watch(self) -> Generator[str]:
        """Show what happens."""
        try:
            number = 0
            while True:
                number += 1
                yield f"event {number}"
                time.sleep(0.05)
        finally:
            Path(__file__).with_name("closed").touch()

    @export
    def image(self) -> bytes:
        return b"\\x00\\xff\\x1b[2J"

    @export
    def title(self) -> str:
        return "\\x1b]0;owned\\x07lamps"

    @export
    def break_down(self) -> None:
        raise OSError("panel on /dev/panel: no answer; is it plugged in?")

    @export
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    @export
    def log_in(self, password: SecretStr) -> int:
        return len(password.get_secret_value())

    @exportstream
    @asynccontextmanager
    async def console(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Say it aloud."""
        yield Counted()

    @exportstream
    @asynccontextmanager
    async def brief(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """Say one thing."""
        stream = Counted()
        await stream.send(b"good bye\\n")
        stream.send_stream.close()
        yield stream
'''

LAB = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: {name}}}
export:
  relay: {{type: lab_relay.Relay}}
  panel: {{type: lab_panel.Panel}}
"""


@pytest.fixture
def exporter(lab: "Lab") -> "Iterator[Exporter]":
    """An exporter with drivers that nobody else can import."""
    drivers = lab.directory / "drivers"
    drivers.mkdir()
    (drivers / "lab_relay.py").write_text(RELAY)
    (drivers / "lab_panel.py").write_text(PANEL)
    config = lab.write("lab", LAB)
    with lab.exporter(config=config, PYTHONPATH=str(drivers)) as running:
        lab.environment["JUMPSTARTER_HOST"] = running.address
        yield running


pytestmark = pytest.mark.usefixtures("exporter")


def test_a_driver_of_twelve_lines_is_used_from_python(lab: "Lab") -> None:
    assert len(RELAY.splitlines()) <= 12
    program = """\
from jumpstarter.utils.env import env
with env() as client:
    print(client.relay.toggle(channel=2), client.relay.toggle(2))
    try:
        client.relay.toggle(chanel=2)
    except ValueError as e:
        print(e)
    help(client.relay.toggle)
"""
    done = lab.run(sys.executable, "-c", program)
    assert done.stdout.startswith(
        "True False\n"
        "relay.toggle: unknown parameter 'chanel'; did you mean 'channel'? "
        "(toggle(channel: int, wait: float = 0.0) -> bool)\n"
    )
    assert "Switch a channel over" in done.stdout
    assert "driver panel: client lab_panel_client.PanelClient is not installed here" in done.stderr
    assert "using the generic client" in done.stderr


def test_a_driver_of_twelve_lines_is_used_from_the_command_line(lab: "Lab") -> None:
    done = lab.run("j", "relay", "toggle", "--channel", "2")
    assert (done.stdout, done.stderr, done.returncode) == ("true\n", "", 0)
    assert lab.run("j", "relay", "toggle", "2").stdout == "false\n"
    done = lab.run("j", "-o", "json", "relay", "toggle", "2")
    assert (json.loads(done.stdout), done.returncode) == (True, 0)
    assert "Switch a channel over; returns whether it is on now." in lab.run("j", "relay", "toggle", "--help").stdout
    assert "─ relay  Relays of the left bench.  [toggle]" in lab.run("j").stdout
    devices = json.loads(lab.run("j", "--output=json").stdout)
    assert [(child["path"], child["type"]) for child in devices["children"]] == [
        ("relay", "lab_relay.Relay"),
        ("panel", "lab_panel.Panel"),
    ]


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("relay toggle", 2, "j: error: missing CHANNEL (INT) (see 'j relay toggle --help')"),
        ("relay togle 1", 2, "j: error: no command 'togle'; did you mean 'toggle'? (see 'j relay --help')"),
        ("-o yaml relay toggle 1", 2, "j: error: no format 'yaml'; json is the only one"),
        ("-o json panel console", 2, "console is a byte stream, which has no JSON form"),
        ("panel break-down", 70, "j: error: panel.break_down: panel on /dev/panel: no answer; is it plugged in?"),
    ],
)
def test_an_error_is_one_line_with_its_status(lab: "Lab", command: str, status: int, message: str) -> None:
    done = lab.run("j", *command.split())
    assert done.returncode == status
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_errors_are_json_where_results_are(lab: "Lab") -> None:
    done = lab.run("j", "-o", "json", "panel", "break-down")
    assert done.returncode == 70
    error = json.loads(done.stderr)
    assert (error["driver"], error["operation"], error["status"]) == ("panel", "break_down", 70)
    done = lab.run("j", "-o", "json", "relay", "toggle")
    assert (json.loads(done.stderr)["code"], done.returncode) == ("usage", 2)


def test_a_stream_comes_line_by_line_and_ends_with_ctrl_c(lab: "Lab") -> None:
    process = subprocess.Popen(
        ["j", "panel", "watch"], env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in range(3)] == ["event 1\n", "event 2\n", "event 3\n"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == ""
    closed = lab.directory / "drivers" / "closed"
    deadline = time.monotonic() + 60
    while not closed.exists():  # the exporter has closed the generator
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_stream_whose_reader_goes_ends(lab: "Lab") -> None:
    done = lab.run("bash", "-c", "j panel watch | head -2; echo ${PIPESTATUS[0]}")
    assert done.stdout == "event 1\nevent 2\n141\n"
    assert done.stderr == ""


def test_a_byte_stream_is_joined_with_stdin_and_stdout(lab: "Lab") -> None:
    done = lab.run("j", "panel", "console", input="hello\n")
    assert (done.stdout, done.stderr, done.returncode) == ("HELLO\n6 bytes\n", "", 0)


def test_a_byte_stream_carries_more_than_a_buffer_both_ways(lab: "Lab") -> None:
    done = lab.run("j", "panel", "console", input="x" * 1_000_000)
    assert done.stdout == "X" * 1_000_000 + "1000000 bytes\n"


def test_a_byte_stream_that_the_device_ends_does_not_wait_for_stdin(lab: "Lab") -> None:
    process = subprocess.Popen(
        ["j", "panel", "brief"], env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.read() == "GOOD BYE\n"
        assert process.wait(60) == 0


def test_ctrl_c_ends_a_byte_stream(lab: "Lab") -> None:
    process = subprocess.Popen(
        ["j", "panel", "console"],
        env=lab.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"HELLO\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


def test_a_call_has_a_deadline(lab: "Lab") -> None:
    done = lab.run("j", "panel", "sleep", "5", "--timeout", "0.2")
    assert done.returncode == 70
    assert done.stderr.startswith("j: error: panel.sleep: ")
    assert done.stderr.count("\n") == 1


def test_a_secret_is_asked_for_on_a_terminal(lab: "Lab") -> None:
    terminal = Terminal(["j", "panel", "log-in"], {**lab.environment, "TERM": "xterm"})
    try:
        terminal.read_until(b"password: ")
        terminal.type(b"hunter2\n")
        assert terminal.read_to_end() == b"\r\n7\r\n"
    finally:
        terminal.close()
    assert lab.run("j", "panel", "log-in").returncode == 2


def test_a_shell_completes_what_is_not_its_own(lab: "Lab") -> None:
    def completed(words: str, position: int) -> str:
        return lab.run("j", _J_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(position)).stdout

    assert completed("j relay to", 2) == "plain,toggle\n"
    assert "plain,--channel" in completed("j relay toggle --", 3)


def test_bytes_are_raw_on_a_pipe_and_shown_on_a_terminal(lab: "Lab") -> None:
    piped = subprocess.run(["j", "panel", "image"], env=lab.environment, stdout=subprocess.PIPE, check=True)
    assert piped.stdout == b"\x00\xff\x1b[2J"
    assert on_a_terminal(lab, "panel", "image") == "\\x00\\xff\\x1b[2J\r\n"
    assert lab.run("j", "-o", "json", "panel", "image").stdout == '"00ff1b5b324a"\n'


def test_text_of_a_device_does_not_steer_a_terminal(lab: "Lab") -> None:
    assert on_a_terminal(lab, "panel", "title") == "\\x1b]0;owned\\x07lamps\r\n"
    assert lab.run("j", "panel", "title").stdout == "\x1b]0;owned\x07lamps\n"


def on_a_terminal(lab: "Lab", *command: str) -> str:
    """What `j` writes to a terminal."""
    terminal = Terminal(["j", *command], {**lab.environment, "TERM": "xterm"})
    try:
        return terminal.read_to_end().decode()
    finally:
        terminal.close()


def test_the_generic_parts_are_loaded_for_generic_devices_only(lab: "Lab") -> None:
    code = "import sys; sys.argv = ['j', {!r}, {!r}{}]; from jumpstarter.cli.j import main; main()"
    loaded = imported(lab, code.format("relay", "toggle", ", '1'"))
    assert "jumpstarter.client.generic_command" in loaded
    assert not {"pydantic", "yaml", "rich"} & {name.partition(".")[0] for name in loaded}
    assert len(loaded) < 400


def imported(lab: "Lab", code: str) -> set[str]:
    """The modules that a fresh interpreter imports."""
    environment: dict[str, str] = {**os.environ, **lab.environment}
    done = subprocess.run(
        [sys.executable, "-v", "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return set(re.findall(r"^import '([\w.]+)' #", done.stderr, flags=re.MULTILINE))
