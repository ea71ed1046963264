"""Hooks of an exporter that serves by itself: when they run, what they can use, and what their failure leads to."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: {name}}}
motd: Mind the fan
export:
  power: {{type: jumpstarter_driver_power.driver.MockPower}}
hooks:
"""


def config(lab: Lab, before: str = "", after: str = "", **options: object) -> Path:
    """A configuration with hooks, which find the directory of the test in $LAB."""
    text = CONFIG.replace("{name}", "demo")
    extra = "".join(f", {key}: {value}" for key, value in options.items())
    for kind, script in (("beforeLease", before), ("afterLease", after)):
        if script:
            (lab.directory / kind).write_text(script)
            text += f"  {kind}: {{{{script: {lab.directory / kind}, passEnvironment: [LAB]{extra}}}}}\n"
    lab.environment["LAB"] = str(lab.directory)
    return lab.write("hooks", text)


def wait_for(what: Callable[[], object], timeout: float = 60, explain: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


def notes(lab: Lab) -> list[str]:
    """What hooks wrote to $LAB/notes."""
    path = lab.directory / "notes"
    return path.read_text().splitlines() if path.exists() else []


def sleeping(tag: str) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"sleep\0{tag}\0".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def test_hooks_run_around_each_session(lab: Lab):
    path = config(lab, "echo before >> $LAB/notes", 'echo "after $CLIENT_NAME" >> $LAB/notes')
    with lab.exporter(config=path) as exporter:
        assert notes(lab) == ["before"]
        for sessions in (1, 2):
            assert lab.run("jmp", "shell", "--", "j", "power", "on").returncode == 0
            wait_for(lambda n=sessions: len(notes(lab)) == 2 * n + 1, explain=lambda: (notes(lab), exporter.lines))
        assert [note.split()[0] for note in notes(lab)] == ["before", "after", "before", "after", "before"]
        assert exporter.stop() == 0


def test_hooks_run_around_a_local_shell(lab: Lab):
    path = config(lab, "echo before >> $LAB/notes", "echo after >> $LAB/notes")
    done = lab.run("jmp", "shell", "--exporter-config", path, "--", "sh", "-c", "echo during >> $LAB/notes; exit 3")
    assert (done.returncode, notes(lab)) == (3, ["before", "during", "after"]), done.stderr


def test_j_works_in_hooks(lab: Lab):
    script = "j power on && j | head -1 >> $LAB/notes; echo $? >> $LAB/notes"
    with lab.exporter(config=config(lab, script, script)) as exporter:
        assert lab.run("jmp", "shell", "--", "j", "power", "off").returncode == 0
        wait_for(lambda: len(notes(lab)) >= 6, explain=lambda: (notes(lab), exporter.lines))
    assert [note for note in notes(lab) if note.isdigit()][:3] == ["0", "0", "0"]
    assert [note for note in notes(lab) if "power" in note]


def test_j_works_in_the_hooks_of_an_exporter_with_a_passphrase(lab: Lab):
    options = ("--tls-grpc-listener", "0", "--tls-grpc-insecure")
    path = config(lab, "j power on; echo $? >> $LAB/notes; env >> $LAB/notes")
    with lab.exporter(*options, config=path, JMP_GRPC_PASSPHRASE="s3cret"):
        assert notes(lab)[0] == "0"
        assert "s3cret" not in "\n".join(notes(lab))


def test_others_wait_until_the_hook_has_ended(lab: Lab):
    path = config(lab, "touch $LAB/began; while ! test -e $LAB/go; do sleep 0.02; done")
    process = lab.start("jmp", "run", "--exporter-config", path)
    assert process.stderr is not None
    with process:
        try:
            wait_for((lab.directory / "began").exists)
            caller = lab.start("j", "power", "on", JUMPSTARTER_HOST=str(lab.runtime / "demo.sock"))
            time.sleep(0.5)
            assert caller.poll() in (None, 75)
            (lab.directory / "go").touch()
            while "is ready on" not in process.stderr.readline():
                pass
            caller.communicate(timeout=60)
            assert caller.returncode in (0, 75)
        finally:
            process.terminate()


def test_its_output_is_in_the_log(lab: Lab):
    path = config(lab, "printf 'hello \\033[31mred\\n'")
    process = lab.start("jmp", "--log-level", "INFO", "run", "--exporter-config", path)
    assert process.stderr is not None
    with process:
        lines: list[str] = []
        while not any("is ready on" in line for line in lines):
            lines.append(process.stderr.readline())
        process.terminate()
    assert [line for line in lines if re.search(r"hook\.beforeLease: hello \\x1b\[31mred$", line)]


def test_a_warning_is_in_the_status_and_the_session_is_given(lab: Lab):
    with lab.exporter(config=config(lab, "echo no board; exit 3")) as exporter:
        assert lab.run("jmp", "shell", "--", "j", "power", "on").returncode == 0
        assert any("exit status 3" in line for line in exporter.lines)


def test_end_lease_gives_nobody_the_devices_until_the_hook_succeeds(lab: Lab):
    path = config(lab, "echo try >> $LAB/notes; test -e $LAB/board", onFailure="endLease")
    process = lab.start("jmp", "run", "--exporter-config", path)
    assert process.stderr is not None
    with process:
        try:
            wait_for(lambda: notes(lab))
            wait_for((lab.runtime / "demo.sock").exists)
            refused = lab.run("jmp", "shell", "-n", "demo", "--", "true")
            assert refused.returncode not in (0, 1)
            assert "beforeLease hook failed: exit status 1" in refused.stderr
            assert refused.stderr.count("\n") == 1
            (lab.directory / "board").touch()
            while "is ready on" not in process.stderr.readline():
                pass
            assert len(notes(lab)) >= 2
            assert lab.run("jmp", "shell", "--", "j", "power", "on").returncode == 0
        finally:
            process.terminate()
        process.wait(60)


@pytest.mark.parametrize("options", [(), ("--supervise",)], ids=["alone", "supervised"])
def test_exit_ends_the_exporter_with_status_1(lab: Lab, options: tuple[str, ...]):
    path = config(lab, "echo no board; exit 3", onFailure="exit")
    done = lab.run("jmp", "run", *options, "--exporter-config", path)
    assert done.returncode == 1
    assert "beforeLease hook failed: exit status 3; its last words: no board" in done.stderr.splitlines()[-1]


def test_exit_after_a_session_ends_the_exporter_with_status_1(lab: Lab):
    with lab.exporter(config=config(lab, after="exit 4", onFailure="exit")) as exporter:
        assert lab.run("jmp", "shell", "--", "j", "power", "on").returncode == 0
        assert exporter.wait() == 1


def test_a_hook_that_cannot_be_started_is_no_mere_warning(lab: Lab):
    path = config(lab, "true", exec="/nonexistent/sh")
    done = lab.run("jmp", "shell", "--exporter-config", path, "--", "true")
    assert done.returncode not in (0, 1)
    assert "beforeLease hook cannot run: /nonexistent/sh: No such file or directory" in done.stderr


def test_the_message_of_the_day_has_what_the_hook_adds(lab: Lab):
    with lab.exporter(config=config(lab, "echo Today: no network > $JMP_MOTD_FILE")) as exporter:
        code = (
            "import grpc, sys\nfrom google.protobuf.empty_pb2 import Empty\n"
            "from jumpstarter_protocol.jumpstarter.v1.jumpstarter_pb2_grpc import ExporterServiceStub as Stub\n"
            "print(Stub(grpc.insecure_channel('unix:' + sys.argv[1])).GetReport(Empty()).motd)"
        )
        assert lab.run(sys.executable, "-c", code, exporter.address).stdout == "Mind the fan\nToday: no network\n\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_exporter_is_the_end_of_its_hook(lab: Lab, signum: signal.Signals):
    tag = f"95{os.getpid()}.{int(signum)}"
    script = f"setsid sleep {tag} & trap '' TERM HUP; sleep {tag}; sleep {tag}"
    process = lab.start("jmp", "run", "--exporter-config", config(lab, script))
    with process:
        wait_for(lambda: len(sleeping(tag)) == 2)
        process.send_signal(signum)
        status = process.wait(60)
        assert status == (0 if signum == signal.SIGTERM else -signum)
        wait_for(lambda: not sleeping(tag), timeout=5)


def test_a_supervised_exporter_that_dies_in_a_hook_is_started_again(lab: Lab):
    tag = f"95{os.getpid()}.1"
    path = config(lab, f"test -e $LAB/second && exit; touch $LAB/second; setsid sleep {tag} & sleep {tag}")
    process = lab.start("jmp", "run", "--supervise", "--exporter-config", path)
    assert process.stderr is not None
    with process:
        wait_for(lambda: len(sleeping(tag)) == 2)
        (child, *_) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        while "is ready on" not in process.stderr.readline():
            pass
        assert sleeping(tag) == []
        process.terminate()
        assert process.wait(60) == 0
