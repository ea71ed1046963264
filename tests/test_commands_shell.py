"""`jmp shell` and `j`: devices attached, used, and let go."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Lab

SHOW = 'import json, os; print(json.dumps({k: v for k, v in os.environ.items() if "JMP" in k or "JUMP" in k}))'


def attached(lab: Lab, *options: str | Path, **environment: str) -> dict[str, str]:
    """The variables that a command sees in `jmp shell`, without its session's token."""
    done = lab.run("jmp", "shell", *options, "--", "python", "-c", SHOW, **environment)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen.pop("JMP_SESSION")) >= 32
    return seen


def test_a_file_is_served_for_one_command(lab: Lab):
    done = lab.run("jmp", "shell", "--exporter-config", lab.config, "--", "j", "power", "read")
    assert done.returncode == 0, done.stderr
    assert "V" in done.stdout
    assert done.stderr == ""
    assert not lab.runtime.exists()


def test_the_environment_of_a_served_file(lab: Lab):
    seen = attached(lab, "--exporter-config", lab.config, JMP_LEASE="of an outer shell", JMP_GRPC_PASSPHRASE="secret")
    host = seen.pop("JUMPSTARTER_HOST")
    assert not os.path.exists(host)  # noqa: PTH110 it was private, and is gone
    assert seen == {"JMP_DRIVERS_ALLOW": "UNSAFE", "JMP_EXPORTER": "demo", "_JMP_SUPPRESS_DRIVER_WARNINGS": "1"}


def test_the_one_exporter_running_here_is_attached(lab: Lab):
    with lab.exporter() as exporter:
        assert attached(lab) == {
            "JUMPSTARTER_HOST": exporter.address,
            "JMP_EXPORTER": "demo",
            "_JMP_SUPPRESS_DRIVER_WARNINGS": "1",
        }
        assert attached(lab, "--name", "demo") == attached(lab, "--socket", exporter.address) == attached(lab)


def test_of_several_exporters_one_is_chosen_by_name(lab: Lab):
    with lab.exporter(), lab.exporter(config=lab.write("other")):
        for command in (["jmp", "shell", "--", "true"], ["j", "power", "on"]):
            done = lab.run(*command)
            assert done.returncode == 2
            assert "demo, other" in done.stderr
        assert attached(lab, "--name", "other")["JMP_EXPORTER"] == "other"


@pytest.mark.parametrize("command", [["jmp", "shell", "--", "true"], ["j"], ["j", "power", "on"]])
def test_without_an_exporter_it_is_said_what_to_do(lab: Lab, command: list[str]):
    done = lab.run(*command)
    assert done.returncode == 69
    assert "jmp run --exporter-config" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_exporter_of_another_name_is_told_apart(lab: Lab):
    with lab.exporter():
        done = lab.run("jmp", "shell", "--name", "other", "--", "true")
    assert done.returncode == 69
    assert "no exporter other runs here (running: demo)" in done.stderr


@pytest.mark.parametrize("status", [0, 1, 77])
def test_the_status_is_that_of_the_command(lab: Lab, status: int):
    done = lab.run("jmp", "shell", "--exporter-config", lab.config, "--", "sh", "-c", f"exit {status}")
    assert done.returncode == status


def test_options_of_the_command_are_its_own(lab: Lab):
    done = lab.run("jmp", "shell", "--exporter-config", lab.config, "echo", "--help", "-n")
    assert done.stdout == "--help -n\n"


def test_a_terminated_shell_ends_its_command_and_closes(lab: Lab):
    process = lab.start("jmp", "shell", "--exporter-config", lab.config, "--", "sh", "-c", "echo up >&2; sleep 600")
    assert process.stderr is not None
    assert process.stderr.readline() == "up\n"
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    process.stderr.close()
    assert not list(lab.directory.glob("jumpstarter-*"))


def test_a_wrong_configuration_is_status_65(lab: Lab):
    config = lab.write("wrong", lab.config.read_text().replace("MockPower", "MokPower"))
    done = lab.run("jmp", "shell", "--exporter-config", config, "--", "true")
    assert done.returncode == 65
    assert done.stderr.startswith(f"jmp: error: {config}:")
    assert "MockPower" in done.stderr


def test_nothing_at_the_address_is_status_69(lab: Lab):
    for options in (["--socket", "/nonexistent.sock"], ["--tls-grpc", "127.0.0.1:1", "--tls-grpc-insecure"]):
        done = lab.run("jmp", "shell", *options, "--", "touch", lab.directory / "ran")
        assert done.returncode == 69
        assert done.stderr.count("\n") == 1
        assert options[1] in done.stderr
    assert not lab.directory.joinpath("ran").exists()


def test_the_log_of_an_exporter_is_shown_and_harmless(lab: Lab):
    with lab.exporter():
        done = lab.run("jmp", "shell", "--exporter-logs", "--", "sh", "-c", "j power on; sleep 0.3")
        assert "exporter:driver: power on" in done.stderr
    done = lab.run("jmp", "shell", "--exporter-logs", "--exporter-config", lab.config, "--", "j", "power", "on")
    assert "driver.MockPower: power on" in done.stderr


def test_j_alone_lists_the_devices_and_their_commands(lab: Lab):
    with lab.exporter():
        done = lab.run("j")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("├─ power")
    assert "Supply of the board  [on, off" in lines[0]
    assert [line.split()[1] for line in lines[1:2]] == ["lab"]
    assert any("echo" in line for line in lines)


def test_help_of_j_needs_no_exporter(lab: Lab):
    done = lab.run("j", "--help")
    assert done.returncode == 0
    assert "j power on" in done.stdout
    with lab.exporter():
        assert "Supply of the board" in lab.run("j", "--help").stdout


def test_wrong_use_of_j_is_status_2(lab: Lab):
    wrong = [
        (["pover", "on"], "'pover'"),
        (["power", "of"], "'of'"),
        (["power", "on", "now"], "unexpected extra argument"),
        (["power", "read", "--count", "many"], "many"),
    ]
    with lab.exporter():
        for arguments, said in wrong:
            done = lab.run("j", *arguments)
            assert done.returncode == 2
            assert said in done.stderr
            assert done.stderr.count("\n") == 1


BROKEN = """\
from dataclasses import dataclass
from pathlib import Path
from jumpstarter.driver import Driver, export
from jumpstarter_driver_power.driver import PowerInterface
import time

@dataclass(kw_only=True)
class Broken(PowerInterface, Driver):
    release_default = "leave"

    @export
    def on(self) -> None:
        raise ConnectionError("relay on /dev/ttyUSB0: \\x1b[31mgone\\x1b[0m; check the cable")

    @export
    def off(self) -> None:
        Path(__file__).with_name("off").touch()
        time.sleep(30)

    @export
    def read(self):
        yield from ()

    def close(self):
        raise OSError("the relay does not answer")
"""


@pytest.fixture
def broken(lab: Lab) -> Path:
    """A configuration with a driver whose `on` fails and whose `off` does not end."""
    lab.directory.joinpath("broken.py").write_text(BROKEN)
    lab.environment["PYTHONPATH"] = str(lab.directory)
    text = lab.config.read_text().replace("jumpstarter_driver_power.driver.MockPower", "broken.Broken")
    return lab.write("broken", text)


@pytest.mark.parametrize(("own", "status"), [(0, 70), (3, 3)])
def test_devices_that_cannot_be_let_go_are_reported(lab: Lab, broken: Path, own: int, status: int):
    done = lab.run("jmp", "shell", "--exporter-config", broken, "--", "sh", "-c", f"exit {own}")
    assert done.returncode == status
    assert done.stderr == "jmp: error: the relay does not answer; while closing power\n"


def test_a_driver_that_fails_is_one_harmless_line_and_status_70(lab: Lab, broken: Path):
    with lab.exporter(config=broken):
        done = lab.run("j", "power", "on")
    assert done.returncode == 70
    assert done.stderr == "j: error: power.on: relay on /dev/ttyUSB0: \\x1b[31mgone\\x1b[0m; check the cable\n"


def until_off(lab: Lab) -> None:
    """Wait until the broken driver is called."""
    deadline = time.monotonic() + 60
    while not (lab.directory / "off").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_j_with_the_status_of_shells(lab: Lab, broken: Path, signum: signal.Signals):
    with lab.exporter(config=broken):
        process = lab.start("j", "power", "off")
        until_off(lab)
        process.send_signal(signum)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert said == ""


def test_an_exporter_that_dies_in_a_call_is_status_69(lab: Lab, broken: Path):
    with lab.exporter(config=broken) as exporter:
        process = lab.start("j", "power", "off")
        until_off(lab)
        exporter.process.kill()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 69
    assert said.startswith("j: error: power.off: ")
    assert said.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(lab: Lab):
    with lab.exporter():
        done = lab.run("sh", "-c", "j --help | true; j | true")
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_an_interactive_shell_names_the_exporter(lab: Lab, shell: str):
    config = lab.write("lab-1")
    master, slave = pty.openpty()
    environment = lab.environment | {"SHELL": f"/bin/{shell}", "TERM": "dumb"}
    command = ["jmp", "shell", "--exporter-config", str(config)]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    try:
        assert "[lab-1] " in read_until(master, "[lab-1] ")
        os.write(master, b"j power on && exit 4\n")
        assert process.wait(60) == 4
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_shell_greets_with_the_message_of_the_exporter_and_its_hook(lab: Lab):
    text = lab.config.read_text() + "motd: Mind the oven.\nhooks:\n"
    hook = "  beforeLease: {script: 'printf \"the relay \\\\033[31mclicks\" > $JMP_MOTD_FILE'}\n"
    config = lab.directory / "bench.yaml"
    config.write_text(text + hook)
    greeting = "Mind the oven.\nthe relay \\x1b[31mclicks\n"
    assert lab.run("jmp", "shell", "--exporter-config", config, SHELL="/bin/sh").stderr == greeting
    with lab.exporter(config=config):
        done = lab.run("jmp", "shell", input="j power on\nexit 3\n", SHELL="/bin/sh")
        assert (done.returncode, done.stderr) == (3, greeting)
        assert lab.run("jmp", "shell", "--", "true").stderr == ""


def test_a_client_is_shown_without_its_machinery(lab: Lab):
    show = "from jumpstarter.utils.env import env\nwith env() as client: print(repr(client.power))"
    shown = lab.run("jmp", "shell", "--exporter-config", lab.config, "--", sys.executable, "-c", show).stdout
    assert shown.startswith("PowerClient("), shown
    assert "path='power'" in shown
    for machinery in ("stub", "portal", "stack", "logger"):
        assert machinery not in shown


def test_the_status_says_who_holds_the_exporter_in_local_time(lab: Lab):
    with lab.exporter():
        assert lab.run("j", "power", "on").returncode == 0
        said = lab.run("jmp", "status").stdout.splitlines()
    assert re.fullmatch(r"held by \S+ since \d\d:\d\d", said[1]), said


def read_until(master: int, text: str) -> str:
    seen, deadline = "", time.monotonic() + 60
    while text not in seen:
        ready, _, _ = select.select([master], [], [], max(0, deadline - time.monotonic()))
        assert ready, seen
        seen += os.read(master, 4096).decode()
    return seen
