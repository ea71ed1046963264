"""Commands that take everything along that they started: in every way in which a command or its owner ends."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from families import DAEMON, Family
from jumpstarter.common.environment import allowed_environment, path_with_commands
from jumpstarter.common.processes import GuardedProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def shell(script: str, *args: str) -> list[str]:
    return ["sh", "-c", script, "sh", *args]


def test_the_status_is_the_command_s_own():
    with GuardedProcess(shell("exit 7")) as process:
        assert process.wait(60) == 7
    assert process.is_gone


def test_a_signal_that_killed_it_is_told():
    with GuardedProcess(shell("kill -9 $$")) as process:
        assert process.wait(60) == -signal.SIGKILL


def test_its_streams_are_pipes_if_wanted():
    with GuardedProcess(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello")
        process.stdin.close()
        assert process.stdout.read() == b"hello"
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("argv", "number", "name"),
    [
        (["/nonexistent/tool"], errno.ENOENT, "/nonexistent/tool"),
        (["nosuchtool-xyz"], errno.ENOENT, "nosuchtool-xyz"),
        (["/etc/passwd"], errno.EACCES, "/etc/passwd"),
        (["echo", "a\0b"], errno.EINVAL, "echo"),
        (["/bin/echo", "x" * 200_000], errno.E2BIG, "/bin/echo"),
    ],
)
def test_what_cannot_be_started_is_an_os_error(argv: list[str], number: int, name: str):
    with pytest.raises(OSError) as caught:
        GuardedProcess(argv)
    assert (caught.value.errno, caught.value.filename) == (number, name)


def test_it_runs_where_we_are_or_where_it_is_told(tmp_path: Path):
    for cwd in (None, tmp_path):
        with GuardedProcess(["pwd"], cwd=cwd, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert Path(process.stdout.read().decode().strip()).samefile(cwd or Path.cwd())


def test_waiting_has_a_timeout(family: Family):
    with GuardedProcess(["sleep", family.tag]) as process:
        assert process.poll() is None
        with pytest.raises(TimeoutError):
            process.wait(0.05)


def test_the_end_of_the_context_is_the_end_of_all(family: Family):
    script = f"sleep {family.tag} & setsid sleep {family.tag} & (setsid sh -c 'sleep {family.tag} & wait' &) ; wait"
    with GuardedProcess(shell(script)) as process:
        family.wait_until(5)
        assert process.poll() is None
    assert family.pids() == []
    assert process.returncode == -signal.SIGTERM


def test_the_end_of_the_command_is_the_end_of_all(family: Family):
    with GuardedProcess([sys.executable, "-c", DAEMON, family.tag], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"daemon on a pipe\n"
        assert process.wait(60) == 0
        family.wait_until(0)
        assert process.stdout.read() == b""
    assert process.left == []


def test_who_ignores_sigterm_is_killed_after_the_grace(family: Family):
    with GuardedProcess(shell(f"trap '' TERM; sleep {family.tag}; sleep {family.tag}")) as process:
        family.wait_until(2)
        started = time.monotonic()
        process.end(grace=0.5)
        assert process.wait(60) == -signal.SIGKILL
        assert 0.4 < time.monotonic() - started < 4
    assert family.pids() == []


def test_who_obeys_sigterm_has_time_to_do_so(family: Family, tmp_path: Path):
    script = f"trap 'sleep 0.3; echo done > {tmp_path}/trap; exit 4' TERM; sleep {family.tag}"
    with GuardedProcess(shell(script)) as process:
        family.wait_until(1, "sleep")  # a signal before that is lost on it
        process.end()
        assert process.wait(60) == 4
    assert (tmp_path / "trap").read_text() == "done\n"


def test_a_stopped_process_ends_too(family: Family):
    with GuardedProcess(shell(f"sleep {family.tag} & kill -STOP $!; kill -STOP $$")):
        family.wait_until(2)
        started = time.monotonic()
    assert time.monotonic() - started < 4


def test_a_family_that_grows_while_it_ends_ends(family: Family):
    script = f"trap 'while :; do setsid sleep {family.tag} & done' TERM; while :; do sleep 0.01; done"
    with GuardedProcess(shell(script, family.tag)) as process:
        family.wait_until(1)
        process.end(grace=0.2)
        process.wait(60)
        family.wait_until(0)


OWNER = """\
import os, sys, time
from jumpstarter.common.processes import GuardedProcess
if sys.argv.pop(1) == "deaf":
    GuardedProcess._await_news = lambda self, timeout: time.sleep(1000)
process = GuardedProcess(sys.argv[1:])
sys.stdin.readline()
os._exit(0)
"""


@pytest.mark.parametrize("how", ["killed", "gone", "deaf"])
def test_they_do_not_outlive_their_owner(family: Family, how: str):
    script = f"trap '' TERM HUP; sleep {family.tag} & setsid sh -c 'trap \"\" TERM; sleep {family.tag}; :' & wait; wait"
    argv = [sys.executable, "-c", OWNER, how, *shell(script)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as owner:
        assert owner.stdin is not None
        family.wait_until(5)  # the owner's command line has it as well
        if how == "gone":
            owner.stdin.close()
        else:  # deaf: without having read what it was told
            owner.kill()
        owner.wait(60)
    family.wait_until(0)


def test_they_do_not_outlive_who_watches_over_them(family: Family):
    script = f"setsid sleep {family.tag} & sleep {family.tag}"
    with GuardedProcess(shell(script)) as process:
        family.wait_until(3)
        guardian = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()[1])
        os.kill(guardian, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert family.pids() == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_signal_to_who_watches_leaves_nobody(family: Family, signum: signal.Signals):
    with GuardedProcess(["sleep", family.tag]) as process:
        guardian = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()[1])
        os.kill(guardian, signum)
        if signum == signal.SIGTERM:
            assert process.wait(60) == -signal.SIGTERM
        else:
            with pytest.raises(TimeoutError):
                process.wait(0.2)


def test_signals_and_descriptors_are_as_for_any_program():
    script = "grep -E 'SigIgn|SigBlk' /proc/self/status; ls /proc/self/fd"
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        with GuardedProcess(shell(script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            lines = process.stdout.read().decode().split("\n")
    finally:
        os.close(reader)
        os.close(writer)
    assert [line.split()[1] for line in lines[:2]] == ["0" * 16, "0" * 16]
    assert [fd for fd in lines[2:] if fd] == ["0", "1", "2", "3"]  # the last is ls's own


def test_the_environment_has_no_secrets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAB_TOKEN", "s3cret")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cret@proxy")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    with GuardedProcess(["env"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode()
    assert "s3cret" not in said
    assert "LC_ALL=C.UTF-8" in said
    assert "HOME=" in said
    assert allowed_environment(["LAB_TOKEN"])["LAB_TOKEN"] == "s3cret"


def test_the_path_has_j_in_any_case():
    ours = str(Path(sys.executable).parent)
    assert path_with_commands({"PATH": "/nonexistent"}).split(":")[1] == ours
    assert path_with_commands({"PATH": f"{ours}:/bin"}) == f"{ours}:/bin"


def test_nothing_is_left_of_many():
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def run() -> None:
        with GuardedProcess(["true"], stdout=subprocess.PIPE) as process:
            process.wait(60)
        with pytest.raises(FileNotFoundError):
            GuardedProcess(["/nonexistent"], stdin=subprocess.PIPE)

    run()
    before = descriptors()
    for _ in range(5):
        run()
    assert descriptors() == before
    assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == ""
