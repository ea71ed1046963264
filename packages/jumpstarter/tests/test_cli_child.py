"""The command that `jmp shell` runs: its status, its signals, its terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

RUN_CHILD = (
    "import os, sys\nfrom jumpstarter.cli import child, errors\n"
    "child.GRACE = float(os.environ.get('GRACE', 5))\n"
    "command = sys.argv[1:]\n"
    "is_shell = command[0] == 'bash'\n"
    "sys.exit(errors.run('jmp', lambda: child.run_child(command, os.environ, is_shell=is_shell)))"
)


def start(*command: str, **options: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", RUN_CHILD, *command]
    return subprocess.Popen(argv, text=True, **options)  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", RUN_CHILD, *command]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def wait_for(path: Path) -> str:
    """The first line that a child writes to a file."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text.strip()
        time.sleep(0.01)
    raise AssertionError(f"nobody wrote {path}")


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_status_of_the_command_is_ours(status: int):
    assert run("sh", "-c", f"exit {status}").returncode == status


def test_a_command_killed_by_a_signal_has_the_status_of_shells():
    assert run("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_has_status_127():
    done = run("no-such-command")
    assert done.returncode == 127
    assert done.stderr == "jmp: error: no-such-command: command not found; is it installed, and on PATH?\n"


def test_a_command_that_cannot_be_executed_has_status_126(tmp_path: Path):
    tmp_path.joinpath("file").write_text("text")
    done = run(str(tmp_path / "file"))
    assert done.returncode == 126
    assert "denied" in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_whole_group_of_the_command(tmp_path: Path, signum: signal.Signals):
    told = tmp_path / "told"
    script = f"(trap 'echo grandchild > {told}; exit' INT TERM HUP; echo > {tmp_path}/ready; sleep 60 & wait) & wait"
    process = start("bash", "-c", f"trap 'wait; exit 7' INT TERM HUP; {script}", start_new_session=True)
    wait_for(tmp_path / "ready")
    process.send_signal(signum)
    assert process.wait(60) == 7
    assert told.read_text() == "grandchild\n"


def test_a_command_that_ignores_the_signal_is_killed(tmp_path: Path):
    script = f"trap '' TERM; echo > {tmp_path}/ready; while :; do sleep 1; done"
    process = start("sh", "-c", script, start_new_session=True, env={**os.environ, "GRACE": "0.3"})
    wait_for(tmp_path / "ready")
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGKILL


def test_nothing_of_the_group_survives_a_termination(tmp_path: Path):
    script = f"(trap '' TERM; echo $BASHPID > {tmp_path}/pid; while :; do sleep 1; done) & wait"
    process = start("bash", "-c", script, start_new_session=True, env={**os.environ, "GRACE": "0.3"})
    survivor = int(wait_for(tmp_path / "pid"))
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    deadline = time.monotonic() + 60
    while is_running(survivor) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(survivor)


def is_running(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or ") Z " not in stat.read_text()
    return False


class Terminal:
    """A terminal with a command as its session's leader; what comes out is collected."""

    def __init__(self, master: int, process: subprocess.Popen[str]) -> None:
        self.master, self.process, self.output = master, process, ""

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: str, timeout: float = 60) -> str:
        """Read until a text has come out; what came before it is returned and forgotten with it."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.output!r}"
            self.output += os.read(self.master, 4096).decode(errors="replace")
        before, _, self.output = self.output.partition(text)
        return before


@pytest.fixture
def on_terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*command: str) -> Terminal:
        master, slave = pty.openpty()
        script = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
        )
        argv = [sys.executable, "-c", script, *command]
        env = {**os.environ, "TERM": "dumb", "HISTFILE": "", "PS1": "outer> "}
        process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=env, text=True
        )
        os.close(slave)
        opened.append(Terminal(master, process))
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        with suppress(ProcessLookupError):
            os.killpg(terminal.process.pid, signal.SIGKILL)
        terminal.process.wait()
        os.close(terminal.master)


CHILD = (sys.executable, "-c", RUN_CHILD)


def test_an_interactive_shell_has_job_control(on_terminal: Callable[..., Terminal]):
    terminal = on_terminal(*CHILD, "bash", "--norc", "--noprofile")
    terminal.expect("outer> ")
    terminal.send("sh -c 'echo be\"\"gun; exec sleep 60'\n")
    terminal.expect("begun")
    terminal.send("\x1a")
    terminal.expect("Stopped")
    terminal.send("bg; kill %1; wait; exit 5\n")
    assert terminal.process.wait(60) == 5


def test_ctrl_c_ends_the_command_and_not_us(on_terminal: Callable[..., Terminal]):
    terminal = on_terminal(
        *CHILD, "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done"
    )
    terminal.expect("ready")
    terminal.send("\x03")
    terminal.expect("caught")
    assert terminal.process.wait(60) == 9


def test_ctrl_c_on_a_plain_command_is_status_130(on_terminal: Callable[..., Terminal]):
    script = "import time; print('ready', flush=True); time.sleep(60)"  # dash may miss a Ctrl-C that comes too early
    terminal = on_terminal(*CHILD, sys.executable, "-c", script)
    terminal.expect("ready")
    terminal.send("\x03")
    assert terminal.process.wait(60) == 130


def test_the_command_reads_the_terminal(on_terminal: Callable[..., Terminal]):
    terminal = on_terminal(*CHILD, "sh", "-c", "read line; echo got $line")
    terminal.send("hello\n")
    terminal.expect("got hello")
    assert terminal.process.wait(60) == 0


def test_ctrl_z_suspends_the_command_and_fg_resumes_it(on_terminal: Callable[..., Terminal]):
    terminal = on_terminal("bash", "--norc", "--noprofile")
    terminal.expect("outer> ")
    script = RUN_CHILD.replace("'", '"')
    terminal.send(f"{sys.executable} -c '{script}' sh -c 'echo be\"\"gun; exec cat'\n")
    terminal.expect("begun")
    terminal.send("one\n")
    terminal.expect("one\r\none")
    terminal.send("\x1a")
    terminal.expect("Stopped")
    terminal.expect("outer> ")
    terminal.send("fg\n")
    terminal.expect("exec cat")
    terminal.send("two\n")
    terminal.expect("two\r\ntwo")
    terminal.send("\x04")
    terminal.expect("outer> ")
    terminal.send("echo status $?\n")
    terminal.expect("status 0")


def test_a_terminated_shell_takes_its_job_with_it(on_terminal: Callable[..., Terminal], tmp_path: Path):
    terminal = on_terminal(*CHILD, "bash", "--norc", "--noprofile")
    terminal.expect("outer> ")
    terminal.send(f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60'\n")
    job = int(wait_for(tmp_path / "pid"))
    terminal.process.terminate()
    assert terminal.process.wait(60) > 128
    deadline = time.monotonic() + 60
    while is_running(job) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(job)


def test_a_pipeline_keeps_its_terminal(on_terminal: Callable[..., Terminal]):
    terminal = on_terminal("bash", "--norc", "--noprofile")
    terminal.expect("outer> ")
    script = RUN_CHILD.replace("'", '"')
    terminal.send(
        f"{sys.executable} -c '{script}' sh -c 'read x < /dev/tty; echo one $x' | sh -c 'read l; echo $l last'\n"
    )
    time.sleep(0.7)
    terminal.send("word\n")
    terminal.expect("one word last")
