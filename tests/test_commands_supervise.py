"""`jmp run --supervise`: exporters that die in every way, and the parent that starts them again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jumpstarter.common.backoff import GOOD_RUN, Backoff

if TYPE_CHECKING:
    from conftest import Exporter, Lab

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

CRASHER = '''\
import ctypes, os, signal, subprocess, sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from jumpstarter.driver import Driver, export


@dataclass(kw_only=True)
class Crasher(Driver):
    """Ends the whole process, and has an output whose state is in a file."""

    release_default: ClassVar[str] = "off"

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self):
        super().__post_init__()
        if (count := os.environ.get("CRASH_AT_START")):
            path = Path(count)
            left = int(path.read_text())
            if left:
                path.write_text(str(left - 1))
                os._exit(3)

    @export
    def on(self) -> None:
        Path(__file__).with_name("output").write_text("on")

    @export
    def off(self) -> None:
        Path(__file__).with_name("output").write_text("off")

    @export
    def pid(self) -> int:
        return os.getpid()

    @export
    def leave(self, status: int) -> None:
        os._exit(status)

    @export
    def segfault(self) -> None:
        ctypes.string_at(0)

    @export
    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @export
    def spawn(self, tag: str) -> None:
        subprocess.Popen(["setsid", "sh", "-c", f"trap '' TERM HUP; sleep {tag}; sleep {tag}"])
'''

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: {name}}}
export:
  crasher: {{type: crasher.Crasher}}
"""

CALL = "import sys; from jumpstarter.utils.env import env\nwith env() as c: print(c.crasher.call(*eval(sys.argv[1])))"


class Supervised:
    """An exporter under a parent."""

    def __init__(self, lab: Lab, exporter: Exporter) -> None:
        self.lab, self.exporter = lab, exporter
        self.process = exporter.process

    def call(self, *args: object) -> subprocess.CompletedProcess[str]:
        environment = {"JUMPSTARTER_HOST": str(self.lab.runtime / "crash.sock"), "JMP_DRIVERS_ALLOW": "UNSAFE"}
        return self.lab.run(sys.executable, "-c", CALL, repr(args), **environment)

    @property
    def child(self) -> int:
        """The exporter's process."""
        return int(float(self.call("pid").stdout))

    def ready(self) -> int:
        """How often an exporter said to be ready."""
        return sum("is ready on" in line for line in self.exporter.lines)

    def wait_ready(self, times: int, timeout: float = 15) -> None:
        deadline = time.monotonic() + timeout
        while self.ready() < times:
            assert time.monotonic() < deadline, self.exporter.lines
            time.sleep(0.02)


@pytest.fixture
def crash(lab: Lab) -> Path:
    lab.directory.joinpath("crasher.py").write_text(CRASHER)
    lab.environment["PYTHONPATH"] = str(lab.directory)
    return lab.write("crash", CONFIG)


@contextmanager
def supervised(lab: Lab, config: Path, **environment: str) -> Generator[Supervised]:
    with lab.exporter("--supervise", config=config, **environment) as exporter:
        yield Supervised(lab, exporter)
        gone(exporter.process.pid)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> None:
    """Kill a supervisor, and wait until all that it had are gone as well."""
    with suppress(FileNotFoundError):
        left = children(pid)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{child}").exists() for child in left):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def running(tag: str) -> list[Path]:
    """Where /proc has the processes that sleep for so long."""
    found: list[Path] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"sleep\0{tag}\0".encode() in entry.read_bytes():
                found.append(entry.parent)
    return found


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (("kill",), "was killed by SIGKILL"),
        (("segfault",), "was killed by SIGSEGV"),
        (("leave", 3), "ended with status 3"),
        (("leave", 0), "ended with status 0"),
        (("leave", 65), "ended with status 65"),
    ],
    ids=["killed", "segfault", "exit-3", "exit-0", "exit-65"],
)
def test_an_exporter_that_dies_is_started_again(lab: Lab, crash: Path, how: tuple[object, ...], said: str):
    with supervised(lab, crash) as exporter:
        first = exporter.child
        assert exporter.call("on").returncode == 0
        assert (lab.directory / "output").read_text() == "on"
        assert exporter.call(*how).returncode != 0
        exporter.wait_ready(2, 10)
        assert (lab.directory / "output").read_text() == "off"  # before anybody can have it
        second = exporter.child
        assert second != first
        assert children(exporter.process.pid) == [second]
        warning = next(line for line in exporter.exporter.lines if "warning" in line)
        assert re.fullmatch(rf"jmp: warning: the exporter {said}; it is started again in 0\.[5-8] s", warning)
        assert exporter.exporter.stop() == 0
    assert [entry.name for entry in lab.runtime.iterdir()] == [".guard"]


def test_what_a_dead_exporter_left_running_is_ended_first(lab: Lab, crash: Path):
    tag = f"96{os.getpid()}.1"
    with supervised(lab, crash) as exporter:
        assert exporter.call("spawn", tag).returncode == 0
        deadline = time.monotonic() + 60
        while len(running(tag)) != 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (orphan,) = running(tag)
        assert b"_JMP" not in (orphan / "environ").read_bytes()
        assert len(list((orphan / "fd").iterdir())) == 3
        os.kill(exporter.child, signal.SIGKILL)
        exporter.wait_ready(2)
        assert running(tag) == []


@pytest.mark.parametrize("options", [(), ("--supervise",)], ids=["alone", "supervised"])
def test_what_a_driver_started_does_not_outlive_an_exporter_that_stops(lab: Lab, crash: Path, options: tuple[str, ...]):
    tag = f"96{os.getpid()}.{2 + len(options)}"
    with lab.exporter(*options, config=crash) as exporter:
        assert Supervised(lab, exporter).call("spawn", tag).returncode == 0
        deadline = time.monotonic() + 60
        while len(running(tag)) != 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.monotonic()
        assert exporter.stop() == 0
        assert time.monotonic() - started < 10
        assert running(tag) == []


def test_what_a_driver_started_does_not_outlive_a_shell_that_serves_it(lab: Lab, crash: Path):
    tag = f"96{os.getpid()}.4"
    spawn = f'python -c "{CALL}" "(\'spawn\', {tag!r})" && echo spawned && read line; exit 3'
    command = [lab.environment["PATH"].split(os.pathsep)[0] + "/jmp", "shell", "--exporter-config", str(crash)]
    shell = subprocess.Popen(
        [*command, "--", "sh", "-c", spawn],
        env=lab.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with shell:
        assert shell.stdout is not None
        assert [shell.stdout.readline() for _ in range(2)] == ["None\n", "spawned\n"]
        deadline = time.monotonic() + 60
        while len(running(tag)) != 1:  # and goes on while the shell does
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.monotonic()
        shell.communicate("\n", timeout=60)
        assert time.monotonic() - started < 10
        assert shell.returncode == 3
    assert running(tag) == []


def test_the_end_of_the_parent_is_the_end_of_the_exporter(lab: Lab, crash: Path):
    with supervised(lab, crash) as exporter:
        child = exporter.child
        exporter.process.kill()
        deadline = time.monotonic() + 60
        while Path(f"/proc/{child}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not (lab.runtime / "crash.sock").exists()  # it ended in order


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_both_in_order(lab: Lab, crash: Path, signum: signal.Signals):
    with supervised(lab, crash) as exporter:
        child = exporter.child
        assert exporter.exporter.stop(signum) == 0
        assert not Path(f"/proc/{child}").exists()
        assert not [line for line in exporter.exporter.lines if "warning" in line]


def test_a_signal_between_two_starts_ends_it_with_the_failure(lab: Lab, crash: Path):
    (lab.directory / "count").write_text("100")
    process = lab.start(
        "jmp", "run", "--supervise", "--exporter-config", crash, CRASH_AT_START=str(lab.directory / "count")
    )
    assert process.stderr is not None
    with process:
        said = [process.stderr.readline() for _ in range(2)]
        assert [line.split("started again in ")[1][0] for line in said] == ["0", "1"]
        process.terminate()
        assert process.wait(60) == 3


def test_a_start_that_fails_is_tried_again(lab: Lab, crash: Path):
    (lab.directory / "count").write_text("1")
    with supervised(lab, crash, CRASH_AT_START=str(lab.directory / "count")) as exporter:
        assert [line for line in exporter.exporter.lines if "ended with status 3" in line]
        assert exporter.exporter.stop() == 0


def test_a_wrong_configuration_is_not_tried_again(lab: Lab):
    for text, status in ((CONFIG.replace("crasher.Crasher", "crasher.Nothing"), 65), ("nonsense: true\n", 65)):
        done = lab.run("jmp", "run", "--supervise", "--exporter-config", lab.write("wrong", text))
        assert done.returncode == status
        assert "started again" not in done.stderr
    assert lab.run("jmp", "run", "--supervise", "--exporter-config", "/nonexistent.yaml").returncode == 65
    assert lab.run("jmp", "run", "--supervise").returncode == 2
    port = ("--tls-grpc-listener", "no:thing")
    assert lab.run("jmp", "run", "--supervise", "--exporter-config", lab.config, *port).returncode == 2


def test_a_name_or_port_of_somebody_else_is_not_tried_again(lab: Lab):
    with lab.exporter():
        done = lab.run("jmp", "run", "--supervise", "--exporter-config", lab.config)
        assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = ("--tls-grpc-listener", str(taken.getsockname()[1]), "--tls-grpc-insecure")
        assert lab.run("jmp", "run", "--supervise", "--exporter-config", lab.config, *port).returncode == 75


def test_a_port_is_served_again_with_the_same_passphrase(lab: Lab, crash: Path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ("--supervise", "--tls-grpc-listener", port, "--tls-grpc-insecure")
    with lab.exporter(*options, config=crash, JMP_GRPC_PASSPHRASE="s3cret") as exporter:
        for ready in (1, 2):
            Supervised(lab, exporter).wait_ready(ready)
            environment = {
                "JUMPSTARTER_HOST": exporter.address,
                "JMP_GRPC_INSECURE": "1",
                "JMP_DRIVERS_ALLOW": "UNSAFE",
                "JMP_GRPC_PASSPHRASE": "s3cret",
            }
            done = lab.run(sys.executable, "-c", CALL, repr(("kill",)), **environment)
            assert "exporter is gone" in done.stderr or "lost" in done.stderr, done.stderr
        gone(exporter.process.pid)


def test_the_parent_is_light(lab: Lab, crash: Path):
    with supervised(lab, crash) as exporter:
        maps = Path(f"/proc/{exporter.process.pid}/maps").read_text()
        assert "cygrpc" not in maps
        assert "_yaml" not in maps
        resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{exporter.process.pid}/status").read_text())
        assert resident is not None
        assert int(resident[1]) < 40_000


def test_the_wait_grows_and_starts_anew_after_a_good_run():
    backoff = Backoff()
    delays = [backoff.after(1.0) for _ in range(10)]
    assert all(base <= delay <= 1.5 * base for base, delay in zip((0.5, 1, 2, 4), delays[:4], strict=True))
    assert max(delays) <= 30
    assert delays[-1] >= 29
    assert backoff.after(GOOD_RUN) <= 0.75


def test_after_both_were_killed_the_next_start_finds_the_place_free(lab: Lab, crash: Path):
    with supervised(lab, crash) as exporter:
        child = exporter.child
        os.kill(exporter.process.pid, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        exporter.process.wait(60)
        assert (lab.runtime / "crash.sock").exists()
    with supervised(lab, crash) as exporter:
        assert exporter.exporter.stop() == 0


@pytest.mark.slow
def test_an_exporter_that_does_not_stop_is_killed(lab: Lab, crash: Path):
    with supervised(lab, crash) as exporter:
        child = exporter.child
        os.kill(child, signal.SIGSTOP)
        exporter.process.terminate()
        assert exporter.process.wait(40) == 128 + signal.SIGKILL
        assert not Path(f"/proc/{child}").exists()
