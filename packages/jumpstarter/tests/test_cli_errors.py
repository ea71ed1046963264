"""How a command ends: one line, one status."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from click import Abort, ClickException, UsageError
from click.exceptions import Exit
from jumpstarter.cli import errors
from jumpstarter.client.core import (
    DriverError,
    DriverInvalidArgument,
    DriverMethodNotImplemented,
    DriverTimeout,
    ExporterLost,
    ExporterNotReady,
    NotAllowed,
)
from jumpstarter.client.errors import DeviceAbsent
from jumpstarter.common import exceptions


class RefusedCall(grpc.RpcError):
    """What a stub raises."""

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "Socket closed"


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The handlers of the test's own process stay."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def ends(error: BaseException) -> int:
    def command():
        raise error

    return errors.run("jmp", command)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 2),
        (exceptions.ArgumentError("x"), 2),
        (exceptions.ConfigurationError("x"), 65),
        (exceptions.FileNotFoundError("x"), 65),
        (exceptions.ConnectionError("x"), 69),
        (exceptions.ExporterUnreachableError("x"), 69),
        (exceptions.ExporterOfflineError("x"), 69),
        (exceptions.EnvironmentVariableNotSetError("x"), 69),
        (ExporterLost("x"), 69),
        (RefusedCall(), 69),
        (DriverError("x"), 70),
        (DriverInvalidArgument("x"), 70),
        (DriverMethodNotImplemented("x"), 70),
        (DriverTimeout("x"), 70),
        (ClickException("x"), 70),
        (OSError("x"), 70),
        (ValueError("x"), 70),
        (exceptions.BusyError("x"), 75),
        (exceptions.DeviceAbsentError("x"), 70),
        (exceptions.LimitError("x"), 70),
        (exceptions.NotAllowedError("x"), 77),
        (DeviceAbsent("x"), 70),
        (ExporterNotReady("x"), 75),
        (NotAllowed("x"), 77),
        (PermissionError("x"), 77),
        (exceptions.ReauthenticationFailed("x"), 77),
        (errors.CommandError("x", 127), 127),
        (ExceptionGroup("tasks", [exceptions.BusyError("x")]), 75),
        (ExceptionGroup("tasks", [DriverError("x"), DriverError("y")]), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_error_has_its_status_and_one_line(error: BaseException, status: int, capsys: pytest.CaptureFixture[str]):
    assert ends(error) == status
    said = capsys.readouterr().err
    assert said.startswith("jmp: error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), 130), (Abort(), 130), (errors.Terminated(15), 143), (SystemExit(4), 4), (SystemExit(), 0)],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_end_that_was_asked_for_is_silent(error: BaseException, status: int, capsys: pytest.CaptureFixture[str]):
    assert ends(error) == status
    assert capsys.readouterr().err == ""


def test_the_text_of_an_error_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]):
    ends(DriverError("a\x1b[2Jb\nc\u202ed"))
    assert capsys.readouterr().err == "jmp: error: a\\x1b[2Jb c\\u202ed\n"


def test_the_cause_is_not_repeated(capsys: pytest.CaptureFixture[str]):
    error = exceptions.ConfigurationError("file x: not readable")
    error.__cause__ = OSError("a long story")
    ends(error)
    assert capsys.readouterr().err == "jmp: error: file x: not readable\n"


def test_notes_are_part_of_an_error(capsys: pytest.CaptureFixture[str]):
    error = OSError("no answer")
    error.add_note("while closing power")
    ends(error)
    assert capsys.readouterr().err == "jmp: error: no answer; while closing power\n"


def test_a_number_is_the_status():
    assert errors.run("jmp", lambda: 3) == 3
    assert errors.run("jmp", lambda: None) == 0
    assert errors.run("jmp", lambda: "text") == 0
    assert errors.run("jmp", lambda: True) == 0


def test_exit_of_click_is_the_status():
    import click

    @click.command()
    def command():
        raise Exit(6)

    assert errors.run("j", lambda: errors.invoke("j", command, [])) == 6


@pytest.fixture
def in_json() -> Iterator[None]:
    """Errors as JSON, for this test."""
    errors.use_json()
    yield
    errors.use_json(False)


def parts(error: BaseException, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one JSON object that stands for an error."""
    status = ends(error)
    found: dict[str, Any] = json.loads(capsys.readouterr().err)
    assert found["status"] == status
    assert set(found) == {"code", "driver", "device", "operation", "message", "hint", "causes", "status"}
    return found


@pytest.mark.usefixtures("in_json")
def test_an_error_of_a_driver_as_json(capsys: pytest.CaptureFixture[str]):
    error = DeviceAbsent(
        "power.on: no board",
        "plug it in",
        driver="power",
        device="usb:1-1.4",
        operation="on",
        reason="no board",
        causes=["OSError: gone"],
    )
    assert parts(error, capsys) == {
        "code": "absent",
        "driver": "power",
        "device": "usb:1-1.4",
        "operation": "on",
        "message": "no board",
        "hint": "plug it in",
        "causes": ["OSError: gone"],
        "status": 70,
    }


@pytest.mark.usefixtures("in_json")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), "usage"),
        (ClickException("x"), "failed"),
        (errors.CommandError("x", 69), "unreachable"),
        (errors.CommandError("x", 75), "busy"),
        (errors.CommandError("x", 127), "failed"),
        (exceptions.ConfigurationError("x"), "configuration"),
        (exceptions.EnvironmentVariableNotSetError("x"), "no-exporter"),
        (exceptions.BusyError("x"), "busy"),
        (exceptions.ReauthenticationFailed("x"), "not-allowed"),
        (RefusedCall(), "exporter-lost"),
        (PermissionError(13, "Permission denied", "/run/x"), "not-allowed"),
        (OSError("x"), "io"),
        (ValueError("x"), "failed"),
        (SystemExit("x"), "failed"),
        (ExceptionGroup("tasks", [exceptions.BusyError("x"), DriverError("y")]), "busy"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_any_error_as_json_has_a_code(error: BaseException, code: str, capsys: pytest.CaptureFixture[str]):
    assert parts(error, capsys)["code"] == code


@pytest.mark.usefixtures("in_json")
def test_json_has_no_secrets_either(capsys: pytest.CaptureFixture[str]):
    error = exceptions.ConfigurationError("https://ann:hunter2@lab", "token=hunter2")
    error.__cause__ = OSError("password='hunter2'")
    assert "hunter2" not in json.dumps(parts(error, capsys))


def test_the_text_of_an_error_has_no_secrets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JMP_DEBUG", "1")
    ends(exceptions.ConfigurationError("https://ann:hunter2@lab"))
    assert "hunter2" not in capsys.readouterr().err


def test_a_hint_ends_the_line(capsys: pytest.CaptureFixture[str]):
    ends(exceptions.DeviceAbsentError("no board", "plug it in"))
    ends(OSError(2, "No such file or directory", "/dev/x"))
    ends(KeyError("x"))
    assert capsys.readouterr().err.splitlines() == [
        "jmp: error: no board; plug it in",
        "jmp: error: /dev/x: No such file or directory",
        "jmp: error: KeyError: 'x'; JMP_DEBUG=1 shows where",
    ]


def test_an_option_chooses_json(capsys: pytest.CaptureFixture[str]):
    import click

    @click.command()
    @errors.output_option
    def command(output: str | None):
        raise DriverError("x")

    try:
        assert errors.run("jmp", lambda: errors.invoke("jmp", command, ["-o", "json"])) == 70
    finally:
        errors.use_json(False)
    assert json.loads(capsys.readouterr().err)["message"] == "x"


STOPPING = """
import sys, time
from jumpstarter.cli import errors

def command():
    try:
        print("runs", flush=True)
        time.sleep(60)
    finally:
        print("ends", flush=True)
        time.sleep({seconds})
        print("restored", flush=True)

errors.finish(errors.run("jmp", command))
"""


@pytest.mark.parametrize("seconds", [0.5, 60])
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_second_signal_breaks_into_nothing_and_waits_for_nothing(
    seconds: float, signum: signal.Signals, status: int
) -> None:
    code = STOPPING.format(seconds=seconds)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        process.send_signal(signum)
        assert process.stdout.readline() == "ends\n"
        for _ in range(2):
            process.send_signal(signum)
            time.sleep(0.01)
        assert process.stdout.read() == ("restored\n" if seconds < 1 else "")
        assert process.wait(20) == status


INTERRUPTED = """
import os, random, signal, sys, threading, time
from concurrent.futures import Future
from jumpstarter.cli import errors

class Late:
    def __del__(self):
        for _ in range(20):
            str(1)

def condition():
    changed = threading.Condition()
    while True:
        with changed:
            changed.wait(0)

def future():
    while True:
        try:
            Future().result(0)
        except TimeoutError:
            pass

def ends_of_objects():
    while True:
        Late()

def status_when_interrupted(work):
    ready, told = os.pipe()
    pid = os.fork()
    if not pid:
        os._exit(errors.run("jmp", lambda: (os.write(told, b"x"), work())))
    os.read(ready, 1)
    os.close(ready)
    os.close(told)
    time.sleep(random.random() * 0.002)
    os.kill(pid, signal.SIGINT)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for work in (condition, future, ends_of_objects):
    print(work.__name__, {status_when_interrupted(work) for _ in range(100)})
"""


@pytest.mark.timeout(120)
def test_an_interrupt_at_any_moment_is_one() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "condition {130}\nfuture {130}\nends_of_objects {130}\n", done.stderr
    assert done.stderr == ""


def test_what_fails_since_it_was_interrupted_is_interrupted(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os, signal\nfrom jumpstarter.cli import errors\n"
        "def command():\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally:\n        raise RuntimeError('not undone')\n"
        "errors.finish(errors.run('jmp', command))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 130
    assert "not undone" in capfd.readouterr().err


STARTED = """
import os, sys
{start}

class Interrupting:
    def __init__(self, left):
        self.left = left

    def find_spec(self, *where):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), 2)

def status_when_interrupted(moment):
    pid = os.fork()
    if not pid:
        sys.meta_path.insert(0, Interrupting(moment))
        sys.argv = ["jmp", "version"]
        {call}
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

moment, statuses = 1, []
while not statuses or statuses[-1]:
    statuses.append(status_when_interrupted(moment))
    moment += 10
print(len(statuses) > 5, sorted({{*statuses}}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("start", "call", "traceback"),
    [
        ("from jumpstarter.cli import start", "start.jmp()", False),
        ("", "from jumpstarter.cli.jmp import main; main()", True),
    ],
    ids=["as the commands begin", "without"],
)
def test_an_interrupt_during_imports_is_silent(start: str, call: str, traceback: bool) -> None:
    code = STARTED.format(start=start, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert ("Traceback" in done.stderr) is traceback
    if not traceback:
        assert done.stderr == "True [-2, 0, 130]\n"
