"""Hooks as real processes: how they are run, what they see, how they end, and what comes of it."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from families import DAEMON, Family
from jumpstarter.common.enums import LogSource
from jumpstarter.common.limits import HOOK_LINE, HOOK_OUTPUT
from jumpstarter.config.hooks import HookInstanceConfigV1Alpha1
from jumpstarter.exporter.hooks import MAX_MOTD, HookKind, HookOutcome, hook_variables, run_hook
from jumpstarter.exporter.logging import LogHandler, LogHistory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not is_so():  # noqa: ASYNC110 other processes have no event to wait for
            await anyio.sleep(0.01)


def run(
    script: str,
    *,
    kind: HookKind = "beforeLease",
    timeout: float = 30,
    variables: dict[str, str] | None = None,
    **options: Any,
) -> HookOutcome:
    config = HookInstanceConfigV1Alpha1(script=script, timeout=timeout, **options)  # pyright: ignore[reportArgumentType]

    async def main() -> HookOutcome:
        return await run_hook(
            kind, config, env=variables if variables is not None else hook_variables(host="/no/socket")
        )

    return anyio.run(main)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What hooks say, as it comes."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("hook")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield said
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


# how it is run


def test_an_inline_script_is_run_by_the_shell(lines: list[str]):
    outcome = run("echo one\necho two >&2\nfor i in 3; do echo $0 $i; done")
    assert (outcome.is_success, outcome.action, outcome.message) == (True, "continue", "")
    assert lines == ["one", "two", "/bin/sh 3"]


def test_an_interpreter_can_be_chosen(lines: list[str]):
    assert run("import sys; print(sys.argv, 2**3)", exec_="python3").is_success
    assert run("echo ${BASH_VERSION:+bash}", exec_="/bin/bash").is_success
    assert lines == ["['-c'] 8", "bash"]


def test_a_file_is_run_by_what_its_name_says(tmp_path: Path, lines: list[str]):
    (tmp_path / "hook.py").write_text("import sys\nprint(sys.executable)")
    (tmp_path / "hook").write_text("echo shell $0")
    assert run(f"{tmp_path}/hook.py").is_success
    assert run(f" {tmp_path}/hook\n").is_success
    assert run(f"{tmp_path}/hook.py", exec_="cat").is_success
    assert lines == [sys.executable, f"shell {tmp_path}/hook", "import sys", "print(sys.executable)"]


def test_what_cannot_be_run_is_no_mere_warning_before_a_lease(tmp_path: Path):
    secret = tmp_path / "noexec"
    secret.touch(0o600)
    for interpreter, reason in (("/nonexistent", "No such file"), (str(secret), "Permission denied")):
        outcome = run("true", exec_=interpreter)
        assert (outcome.action, outcome.is_unrunnable) == ("endLease", True)
        assert outcome.status_message == outcome.message
        assert outcome.message.startswith(f"beforeLease hook cannot run: {interpreter}: {reason}")
        after = run("true", exec_=interpreter, kind="afterLease")
        assert (after.action, after.is_unrunnable) == ("warn", True)
        assert after.status_message.startswith("[HOOK_WARNING] afterLease hook cannot run")
        assert run("true", exec_=interpreter, on_failure="exit").action == "exit"


@pytest.mark.skipif(os.getuid() == 0, reason="root can read every file")
def test_a_file_that_cannot_be_read_cannot_be_run(tmp_path: Path):
    (tmp_path / "hook").touch(0o000)
    assert run(f"{tmp_path}/hook").is_unrunnable


def test_it_has_a_terminal_of_its_own(lines: list[str]):
    assert run("test -t 0 && test -t 1 && test -t 2 && echo a > /dev/tty && ps -o sess= -p $$ | grep -qw $$").is_success
    assert lines == ["a"]


# what it sees


def test_its_environment_is_what_it_needs(monkeypatch: pytest.MonkeyPatch, lines: list[str]):
    for name in ("LAB_TOKEN", "JMP_GRPC_PASSPHRASE", "HTTPS_PROXY", "PS1", "BASH_ENV", "ENV"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("LAB_NAME", "left bench")
    variables = hook_variables(host="/run/hook", session="t0ken", exporter="demo", lease="l1", client="me")
    assert run("env; echo id=$JMP_SESSION", variables=variables, pass_environment=["LAB_NAME"]).is_success
    for line in (
        "JUMPSTARTER_HOST=/run/hook",
        "JMP_SESSION=***",
        "id=***",
        "JMP_EXPORTER=demo",
        "LEASE_NAME=l1",
        "CLIENT_NAME=me",
        "JMP_DRIVERS_ALLOW=UNSAFE",
        "TERM=dumb",
        "DEBIAN_FRONTEND=noninteractive",
        "GIT_TERMINAL_PROMPT=0",
        "LAB_NAME=left bench",
        f"HOME={os.environ['HOME']}",
    ):
        assert line in lines
    assert not [line for line in lines if "s3cret" in line or "t0ken" in line]


def test_the_message_of_the_day_is_read(lines: list[str]):
    outcome = run("printf 'Mind the \\033fan\\nTwo\\n' > $JMP_MOTD_FILE; echo $JMP_MOTD_FILE")
    assert outcome.motd == "Mind the \\x1bfan\nTwo\n"
    assert not Path(lines[0]).parent.exists()
    assert run("true").motd == ""
    assert len(run("head -c 1000000 /dev/zero | tr '\\0' x > $JMP_MOTD_FILE").motd) == MAX_MOTD
    assert run("test -z $JMP_MOTD_FILE", kind="afterLease").is_success


# what it says


def test_its_lines_arrive_while_it_runs(lines: list[str], tmp_path: Path):
    config = HookInstanceConfigV1Alpha1(script=f"echo now; while ! test -e {tmp_path}/go; do sleep 0.01; done")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: run_hook("beforeLease", config, env={}))
            await until(lambda: lines == ["now"])
            (tmp_path / "go").touch()

    anyio.run(main)


@pytest.mark.parametrize(
    ("kind", "source"),
    [("beforeLease", LogSource.BEFORE_LEASE_HOOK), ("afterLease", LogSource.AFTER_LEASE_HOOK)],
)
def test_clients_see_whose_lines_they_are(kind: HookKind, source: LogSource, lines: list[str]):
    history = LogHistory()
    handler = LogHandler(history)
    logging.getLogger().addHandler(handler)
    try:
        run("echo hello", kind=kind)
    finally:
        logging.getLogger().removeHandler(handler)
        history.close()

    async def read() -> list[tuple[str, LogSource]]:
        return [(line.message, line.source) async for line in history.read()]

    assert ("hello", source) in anyio.run(read)
    assert lines == ["hello"]


def test_what_a_terminal_would_obey_is_shown(lines: list[str]):
    assert run(r"printf 'a\033]0;title\007b\r\nten\rtwenty\n\n\ttab\302\205\342\200\256\377\nlast'").is_success
    assert lines == [r"a\x1b]0;title\x07b", "ten", "twenty", "\ttab\\x85\\u202e�", "last"]


def test_binary_output_is_lines(lines: list[str]):
    assert run("head -c 200000 /dev/urandom").is_success
    for text in lines:
        assert text.isprintable() or set(text) & {"\t"} or "�" in text
        assert not set(text) & {"\x1b", "\n", "\r", "\0"}


def test_a_line_without_an_end_is_cut(lines: list[str]):
    assert run(f"head -c {3 * HOOK_LINE} /dev/zero | tr '\\0' x; echo").is_success
    assert "".join(lines) == "x" * 3 * HOOK_LINE
    assert max(map(len, lines)) <= HOOK_LINE


def test_what_is_too_much_is_dropped_and_told(lines: list[str]):
    assert run(f"head -c {HOOK_OUTPUT + 100_000} /dev/zero | tr '\\0' x; echo end").is_success
    assert sum(map(len, lines[:-1])) == HOOK_OUTPUT
    assert lines[-1] == "100004 bytes beyond the first 10 MiB were dropped"


def test_a_flood_of_lines_leaves_the_event_loop_alone(family: Family):
    logger = logging.Logger("flood")
    seen: list[int] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(1)
    logger.addHandler(handler)
    config = HookInstanceConfigV1Alpha1(script=f"echo {family.tag} >/dev/null; yes {family.tag}", timeout=2)
    gaps: list[float] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:

            async def flood() -> None:
                outcome = await run_hook("beforeLease", config, env={}, log=logger)
                assert "timed out after 2 s" in outcome.message
                tasks.cancel_scope.cancel()

            tasks.start_soon(flood)
            while True:
                before = time.monotonic()
                await anyio.sleep(0.005)
                gaps.append(time.monotonic() - before)

    anyio.run(main)
    assert 1000 < len(seen) < 60_000
    assert sorted(gaps)[int(len(gaps) * 0.95)] < 0.5  # a flood that is written on the loop has gaps of seconds


# how it ends


@pytest.mark.parametrize("policy", ["warn", "endLease", "exit"])
@pytest.mark.parametrize("kind", ["beforeLease", "afterLease"])
def test_failure_is_what_the_configuration_says(policy: str, kind: HookKind):
    outcome = run("echo no board; exit 3", kind=kind, on_failure=policy)
    assert outcome.action == policy
    assert outcome.message == f"{kind} hook failed: exit status 3; its last words: no board"
    assert outcome.status_message == ("[HOOK_WARNING] " if policy == "warn" else "") + outcome.message
    assert not outcome.is_unrunnable


def test_a_signal_is_named():
    assert run("kill -SEGV $$").message == "beforeLease hook failed: killed by SIGSEGV"


def test_a_hook_that_takes_too_long_ends(family: Family):
    outcome = run(f"echo wait; sleep {family.tag}", timeout=1.5)
    assert outcome.message == "beforeLease hook timed out after 1.5 s (hooks.beforeLease.timeout); its last words: wait"
    assert 1.4 < outcome.duration < 10


def test_a_hook_that_ends_well_although_it_took_too_long_has_failed(family: Family):
    assert "timed out" in run(f"trap 'exit 0' TERM; sleep {family.tag}; true", timeout=0.3).message


def test_a_hook_that_ignores_sigterm_is_killed_after_five_seconds(family: Family):
    outcome = run(f"trap '' TERM HUP; sleep {family.tag}; sleep {family.tag}", timeout=1.5)
    assert "timed out" in outcome.message
    assert 6.4 < outcome.duration < 20


@pytest.mark.parametrize(
    "script",
    [
        "sleep TAG &",
        "setsid sleep TAG & sleep 0.1",
        "setsid sh -c 'trap \"\" TERM HUP; sleep TAG; sleep TAG' & sleep 0.2",
        f"{sys.executable} -c '{DAEMON}' TAG",
    ],
    ids=["background", "setsid", "deaf", "daemon"],
)
@pytest.mark.parametrize("is_hanging", [False, True], ids=["ends", "hangs"])
def test_what_it_started_ends_with_it(script: str, is_hanging: bool, family: Family, lines: list[str]):
    outcome = run(
        script.replace("TAG", family.tag) + ("\nsleep 1000" if is_hanging else ""), timeout=3 if is_hanging else 30
    )
    assert family.pids() == []
    assert outcome.is_success is not is_hanging
    assert outcome.duration < 25
    if "daemon" in script:
        assert any(line.startswith("daemon on /dev/pts/") for line in lines)


@pytest.mark.parametrize("how", ["scope", "task"])
def test_a_cancelled_hook_ends_with_all_that_it_started(family: Family, how: str):
    config = HookInstanceConfigV1Alpha1(script=f"setsid sleep {family.tag} & sleep {family.tag}")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def hook() -> None:
                with scope:
                    await run_hook("afterLease", config, env={})
                    raise AssertionError("it was not cancelled")

            tasks.start_soon(hook)
            await until(lambda: len(family.pids()) == 3)
            (scope if how == "scope" else tasks.cancel_scope).cancel()

    started = time.monotonic()
    anyio.run(main)
    assert family.pids() == []
    assert time.monotonic() - started < 30


def test_a_hook_that_is_cancelled_before_it_starts_does_not_stay(family: Family):
    config = HookInstanceConfigV1Alpha1(script=f"sleep {family.tag}")

    async def main() -> None:
        with anyio.move_on_after(0.001):
            await run_hook("beforeLease", config, env={})

    anyio.run(main)
    assert family.pids() == []


EXPORTER = """\
import sys, anyio
from jumpstarter.config.hooks import HookInstanceConfigV1Alpha1
from jumpstarter.exporter.hooks import run_hook
anyio.run(lambda: run_hook("beforeLease", HookInstanceConfigV1Alpha1(script=sys.argv[1]), env={}))
"""


def test_a_killed_exporter_takes_its_hook_along(family: Family):
    script = f"trap '' TERM HUP; setsid sleep {family.tag} & sleep {family.tag}; sleep {family.tag}"
    with subprocess.Popen([sys.executable, "-c", EXPORTER, script]) as exporter:
        anyio.run(until, lambda: len(family.pids()) == 4)
        exporter.kill()
    deadline = time.monotonic() + 60
    while family.pids():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_hooks_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    run("true")
    before = descriptors()
    for script in ("true", "false", "kill -9 $$"):
        run(script)
        run(script, exec_="/nonexistent")
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []
