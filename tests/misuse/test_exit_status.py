"""The exit status says how a command ended, the same in every mode."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from misuse_bench import DEVICES, wait_for

if TYPE_CHECKING:
    from misuse_bench import Bench

    from tests.conftest import Exporter

pytestmark = pytest.mark.xdist_group("misuse")  # one bench for all of them, in their order

Mode = Literal["local", "unix", "tcp"]
MODES: tuple[Mode, ...] = ("local", "unix", "tcp")

BOARD = "  relay:\n    type: misuse_devices.OneBoard\n"


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    """How the devices are attached."""
    return request.param


def way_in(bench: Bench, mode: Mode, exporter: Exporter | None = None) -> list[str | Path]:
    """The options of `jmp shell` for a mode, to an exporter of its own or the one that all share."""
    match mode:
        case "local":
            return ["--exporter-config", bench.config]
        case "unix":
            return ["--socket", exporter.address if exporter else bench.exporter.address]
        case "tcp":
            known = ["--tls-ca", bench.certificate[0], "--passphrase-file", bench.secret]
            return ["--tls-grpc", exporter.address if exporter else bench.tls, *known]


def tls_listener(bench: Bench) -> list[str | Path]:
    """Options of `jmp run` for a TCP port."""
    cert, key = bench.certificate
    return ["--tls-grpc-listener", "0", "--tls-cert", cert, "--tls-key", key, "--passphrase-file", bench.secret]


def starting(bench: Bench, mode: Mode, config: Path) -> list[str | Path]:
    """The command that makes the drivers of a configuration."""
    match mode:
        case "local":
            return ["jmp", "shell", "--exporter-config", config, "--", "true"]
        case "unix":
            return ["jmp", "run", "--exporter-config", config]
        case "tcp":
            return ["jmp", "run", "--exporter-config", config, *tls_listener(bench)]


def shell(bench: Bench, options: list[str | Path], *command: str) -> tuple[int, str]:
    """Exit status and stderr of a command in `jmp shell`."""
    done = bench.lab.run("jmp", "shell", *options, "--", *command, JMP_DRIVERS_ALLOW="UNSAFE")
    # a local shell is the exporter as well, and tells its log
    said = [line for line in done.stderr.splitlines(keepends=True) if " WARNING " not in line]
    return done.returncode, "".join(said)


def ends_with(bench: Bench, mode: Mode, *command: str) -> int:
    status, said = shell(bench, way_in(bench, mode), *command)
    assert said.count("\n") == (0 if status == 0 or command[0] == "sh" else 1), said
    return status


@contextmanager
def serving(bench: Bench, mode: Mode, name: str, entries: str = DEVICES, **environment: str) -> Generator[Exporter]:
    """An exporter that one test can end."""
    options = tls_listener(bench) if mode == "tcp" else []
    with bench.lab.exporter(*options, config=bench.write(name, entries), **environment) as exporter:
        yield exporter


# 0, n, 128 + signal: the command's own


def test_success_is_0(bench: Bench, mode: Mode):
    assert ends_with(bench, mode, "j", "power", "on") == 0


@pytest.mark.parametrize("status", [1, 7, 69, 255])
def test_the_status_of_the_command_is_ours(bench: Bench, mode: Mode, status: int):
    assert ends_with(bench, mode, "sh", "-c", f"exit {status}") == status


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_command_killed_by_a_signal_is_128_and_the_signal(bench: Bench, mode: Mode, signum: int):
    assert ends_with(bench, mode, "sh", "-c", f"kill -{int(signum)} $$") == 128 + signum


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_shell_that_is_told_to_end_is_128_and_the_signal(bench: Bench, mode: Mode, signum: signal.Signals):
    started = bench.lab.directory / f"started-{mode}-{int(signum)}"
    process = bench.lab.start("jmp", "shell", *way_in(bench, mode), "--", "sh", "-c", f"touch {started}; sleep 30")
    wait_for(started.exists)
    process.send_signal(signum)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signum


# 2: wrong use


def test_wrong_use_of_jmp_is_2(bench: Bench, mode: Mode):
    assert shell(bench, [*way_in(bench, mode), "--no-such-option"], "true")[0] == 2


@pytest.mark.parametrize("command", [("j", "pover", "on"), ("j", "power", "onn"), ("j", "gadget", "set", "two")])
def test_wrong_use_of_j_is_2(bench: Bench, mode: Mode, command: tuple[str, ...]):
    assert ends_with(bench, mode, *command) == 2


# 65: configuration


def test_a_wrong_configuration_is_65(bench: Bench, mode: Mode):
    wrong = bench.write(f"wrong-{mode}", "  relay:\n    type: misuse_devices.Gadgt\n")
    done = bench.lab.run(*starting(bench, mode, wrong))
    assert (done.returncode, done.stderr.count("\n")) == (65, 1), done.stderr


# 69: not reachable, or lost


def test_an_exporter_that_is_not_there_is_69(bench: Bench, mode: Mode):
    nowhere = str(bench.lab.directory / "nowhere.sock")
    match mode:
        case "local":  # the devices are ours: but the command may look elsewhere
            command = f"JUMPSTARTER_HOST={nowhere} j power on"
            assert shell(bench, way_in(bench, mode), "sh", "-c", command)[0] == 69
        case "unix":
            assert shell(bench, ["--socket", nowhere], "true")[0] == 69
        case "tcp":
            assert shell(bench, ["--tls-grpc", "127.0.0.1:1", "--tls-grpc-insecure"], "true")[0] == 69


Ending = Callable[["Exporter"], None]
ENDINGS: dict[str, Ending] = {
    "killed": lambda exporter: exporter.process.kill(),
    "stopped": lambda exporter: exporter.process.terminate(),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("mode", ["unix", "tcp"])
def test_an_exporter_that_is_lost_in_a_call_is_69(bench: Bench, mode: Mode, ending: str):
    called = bench.lab.directory / f"called-{mode}-{ending}"
    with serving(bench, mode, f"lost-{mode}-{ending}", MISUSE_CALLS=str(called)) as exporter:
        command = ("jmp", "shell", *way_in(bench, mode, exporter), "--", "j", "gadget", "wait")
        process = bench.lab.start(*command, JMP_DRIVERS_ALLOW="UNSAFE")
        wait_for(called.exists)
        ENDINGS[ending](exporter)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 69, said
    assert "j: error: gadget.wait: the exporter is gone: " in said  # and jmp shell warns that the session is over


def test_a_local_shell_that_is_killed_in_a_call_leaves_nothing_behind(bench: Bench):
    called = bench.lab.directory / "called-local"
    command = ("jmp", "shell", *way_in(bench, "local"), "--", "j", "gadget", "wait")
    process = bench.lab.start(*command, MISUSE_CALLS=str(called), JMP_DRIVERS_ALLOW="UNSAFE")
    wait_for(called.exists)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not running(str(bench.lab.directory)))


def running(directory: str) -> list[str]:
    """Processes of `j gadget wait` that have to do with a directory."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = process.joinpath("environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "gadget" in command and "wait" in command and directory in environment:
            found.append(" ".join(command))
    return found


# 70: the device


@pytest.mark.parametrize("how", ["value", "late", "missing", "unplugged", "absent", "faulty", "bug", "exit", "group"])
def test_a_device_that_fails_is_70(bench: Bench, mode: Mode, how: str):
    assert ends_with(bench, mode, "j", "gadget", "fail", how) == 70


def test_a_device_that_does_not_come_up_is_70(bench: Bench, mode: Mode):
    entries = "  relay:\n    type: misuse_devices.Absent\n    required: true\n"
    config = bench.write(f"required-{mode}", entries)
    assert bench.lab.run(*starting(bench, mode, config)).returncode == 70


# 75: somebody else has it


def test_a_device_of_another_exporter_is_75(bench: Bench, mode: Mode):
    config = bench.write(f"second-{mode}", BOARD)
    with bench.another(f"first-{mode}", BOARD):
        done = bench.lab.run(*starting(bench, mode, config))
    assert done.returncode == 75, done.stderr
    assert "in use by another exporter (process " in done.stderr


@pytest.mark.parametrize("command", [("true",), ("j", "power", "on")])
@pytest.mark.parametrize("mode", ["unix", "tcp"])
def test_a_session_of_somebody_else_is_75(bench: Bench, mode: Mode, command: tuple[str, ...]):
    name = f"held-{mode}-{command[0]}"
    there = bench.lab.directory / name
    with serving(bench, mode, name) as exporter:
        options = way_in(bench, mode, exporter)
        holder = bench.lab.start("jmp", "shell", *options, "--", "sh", "-c", f"touch {there}; sleep 30")
        try:
            wait_for(there.exists)
            status, said = shell(bench, options, *command)
        finally:
            holder.terminate()
            holder.communicate(timeout=60)
    assert status == 75, said
    assert "process" in said


def test_what_a_driver_calls_busy_is_75(bench: Bench, mode: Mode):
    assert ends_with(bench, mode, "j", "gadget", "fail", "busy") == 75


# 77: not allowed


def test_what_a_driver_does_not_allow_is_77(bench: Bench, mode: Mode):
    assert ends_with(bench, mode, "j", "gadget", "fail", "forbidden") == 77


def test_a_wrong_passphrase_is_77(bench: Bench):
    wrong = bench.file("exit-wrong", "incorrect horse")
    options = ["--tls-grpc", bench.tls, "--tls-ca", bench.certificate[0], "--passphrase-file", wrong]
    assert shell(bench, options, "true")[0] == 77


def test_a_status_is_in_the_error_for_programs_too(bench: Bench, mode: Mode):
    status, said = shell(bench, way_in(bench, mode), "j", "-o", "json", "gadget", "fail", "absent")
    assert status == json.loads(said)["status"] == 70


def test_every_status_of_the_table_is_tried() -> None:
    """The statuses in this file are those that the README promises."""
    text = Path(__file__).read_text()
    for status in (0, 2, 65, 69, 70, 75, 77):
        assert f"is_{status}(" in text
