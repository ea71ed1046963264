"""A package that is not ours works like ours: its wheel brings drivers, client and commands, and nothing knows of it.

`outside/lab-harness` is that package. It is copied out of the checkout, built, and installed into a fresh environment.
"""

import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("wheels")]

HARNESS = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: harness
export:
  harness:
    type: lab_harness.driver.MyHarness
    description: The board on the left, and what is wired to it
    config:
      port: {port}
      boot_seconds: 0.2
  spare:
    type: lab_harness.driver.MyDebugger
    config:
      speed_khz: 10
    children:
      console:
        type: jumpstarter_driver_network.driver.EchoNetwork
  supply:
    ref: harness.power
"""

TREE = """\
├─ harness         The board on the left, and what is wired to it  [stage]
│  ├─ tunnel       Connect to a service behind the exporter.  [forward-tcp, forward-unix, address]
│  ├─ power        Switch the contactor  [on, off, cycle, read]
│  ├─ sd           Flash the simulated boot medium and move it  [flash, dump, host, dut, off, state]
│  ├─ reset        Press the simulated button  [press, release, read]
│  └─ debugger     Debug the board  [halt, resume]
│     └─ console   Use the simulated serial console  \
[console, pipe, log, send, expect, break, dtr, rts, baudrate, mark, status]
├─ spare           Use the devices of this group.  [halt, resume]
│  └─ console      Connect to a service behind the exporter.  [forward-tcp, forward-unix, address]
└─ supply          Switch the contactor  [on, off, cycle, read]
"""

SESSION = """\
from jumpstarter.client.core import DriverError
from jumpstarter.utils.env import env
from jumpstarter_driver_network.adapters import TcpPortforwardAdapter
from jumpstarter_driver_power.client import PowerClient
from lab_harness.client import MyDebuggerClient
from urllib.request import urlopen

with env() as client:
    harness, debugger = client.harness, client.harness.debugger
    assert isinstance(harness.power, PowerClient) and isinstance(debugger, MyDebuggerClient)

    with debugger.console.stream() as console:
        client.supply.on()  # the same driver as harness.power, by its second name
        seen = b""
        while b"login:" not in seen:
            seen += console.receive()
    assert harness.call("stage") == "booted"
    assert next(harness.power.read()).voltage > 4
    assert harness.power.call("wear") == {"done": 1.0, "left": 999.0}

    harness.reset.press()
    assert harness.reset.read().name == "ACTIVE"
    harness.sd.host()
    assert harness.sd.state() == "host"

    assert debugger.halt(0x1000) == "halted at 0x00001000, 4000 kHz"
    debugger.resume()
    for wrong in (debugger.resume, lambda: debugger.halt("here"), lambda: debugger.call("_count")):
        try:
            wrong()
        except DriverError as e:
            print(type(e).__name__, e)

    [port] = [value for key, value in harness.tunnel.labels.items() if key.startswith("lab.example.com/")]
    with TcpPortforwardAdapter(client=harness.tunnel) as (host, forwarded):
        assert str(forwarded) != port
        print(urlopen(f"http://{host}:{forwarded}/").read().decode())
"""

DUTLINK = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: demo
endpoint: grpc.jumpstarter.example.com:443
token: xxxxx
export:
  dutlink:                                        # name of the driver instance
    type: jumpstarter_driver_dutlink.driver.Dutlink   # fully qualified Python class
    config:                                       # parameters of that class
      storage_device: "/dev/disk/by-id/usb-SanDisk_3.2_Gen_1_5B4C0AB025C0-0:0"
  power:                                          # a second driver for the same device
    type: jumpstarter_driver_dutlink.driver.DutlinkPower
    config:
      serial: "c415a913"
"""


@dataclass
class Installation:
    """An environment with the package and what it depends on, and a directory to work in."""

    commands: Path
    directory: Path

    def run(self, *command: str, status: int = 0) -> str:
        """The output of a command; its errors where it ends with the status of one."""
        ours = ("JMP_", "_JMP", "JUMPSTARTER_", "GRPC_", "XDG_", "PYTHON", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {"HOME": str(self.directory), "XDG_RUNTIME_DIR": str(self.directory)}
        environment["PATH"] = f"{self.commands}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, f"{command}\n{done.stdout}{done.stderr}"
        assert status or not done.stderr, done.stderr
        return done.stderr if status else done.stdout

    def write(self, name: str, text: str) -> str:
        (self.directory / name).write_text(text)
        return name

    def j(self, *command: str, status: int = 0) -> str:
        """What `j` says with the devices of the harness."""
        config = self.write("harness.yaml", HARNESS.format(port=8000))
        return self.run("jmp", "shell", "--exporter-config", config, "--", "j", *command, status=status)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, root: Path, uv: str, wheels: Path) -> Iterator[Installation]:
    work = tmp_path_factory.mktemp("outside")
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}

    def run(*command: str | Path) -> None:
        done = subprocess.run([uv, *command], env=environment, capture_output=True, text=True, cwd=work, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    shutil.copytree(root / "tests/outside/lab-harness", work / "lab-harness")
    python = work / "venv/bin/python"
    run("build", "--quiet", "--wheel", "--out-dir", work, work / "lab-harness")
    run("venv", "--quiet", "--no-project", "--python", sys.executable, work / "venv")
    [wheel] = work.glob("lab_harness-*.whl")
    run("pip", "install", "--quiet", "--no-config", "--python", python, "--find-links", wheels, wheel)
    with tmp_directory() as directory:
        yield Installation(python.parent, directory)


@contextmanager
def tmp_directory() -> Generator[Path]:
    """A directory with a short path: that of a socket in it has to fit."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="jmp") as name:
        yield Path(name)


class Bench(socketserver.BaseRequestHandler):
    """A service on the exporter's host."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\nthis is the bench")


@pytest.fixture
def bench_port() -> Iterator[int]:
    with socketserver.TCPServer(("127.0.0.1", 0), Bench) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_its_drivers_are_listed_with_distribution_and_version(installation: Installation) -> None:
    listed = json.loads(installation.run("jmp", "driver", "list", "-o", "json"))
    lines = installation.run("jmp", "driver", "list").splitlines()
    for name in ("MyDebugger", "MyHarness", "MyPower", "MyTunnel"):
        assert name in json.dumps(listed)
        [line] = [line for line in lines if line.startswith(f"{name} ")]
        assert line.split() == [name, f"lab_harness.driver.{name}", "lab-harness", "0.3.1"]


def test_its_configuration_is_checked(installation: Installation) -> None:
    config = installation.write("harness.yaml", HARNESS.format(port=8000))
    assert "harness.yaml: ok, 3 drivers" in installation.run("jmp", "config", "check", config)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("port: 8000", "prot: 8000", r"wrong.yaml:11:7 export.harness.config.prot: unknown parameter.*'port'"),
        ("port: 8000", "port: http", r"wrong.yaml:11:\d+ export.harness.config.port: expected int, got 'http'"),
        ("speed_khz: 10", "speed_khz: 0", r"wrong.yaml:16:\d+ export.spare.config.speed_khz: .*greater than 0, got 0"),
        ("MyHarness", "MyHarnes", r"wrong.yaml:8:\d+ export.harness.type: .*did you mean 'MyHarness'"),
        ("ref: harness.power", "ref: harnes.power", r"wrong.yaml:21:\d+ export.supply.ref: .*did you mean 'harness"),
    ],
)
def test_mistakes_in_its_configuration_are_found(right: str, wrong: str, said: str, installation: Installation) -> None:
    text = HARNESS.format(port=8000)
    assert right in text
    config = installation.write("wrong.yaml", text.replace(right, wrong))
    assert re.search(said, installation.run("jmp", "config", "check", config, status=65))


def test_reference_to_a_part_that_it_does_not_make_is_found_when_it_is_made(installation: Installation) -> None:
    config = installation.write("wrong.yaml", HARNESS.format(port=8000).replace("harness.power", "harness.tower"))
    error = installation.run("jmp", "shell", "--exporter-config", config, "--", "j", status=65)
    assert re.search(
        r"wrong.yaml:21:\d+ export.supply.ref: 'harness' .*no driver 'tower' below it; did you mean 'power'", error
    )


def test_what_it_asks_of_its_parts_is_said_when_they_are_missing(installation: Installation) -> None:
    config = installation.write("wrong.yaml", HARNESS.format(port=8000).replace("      console:", "      konsole:"))
    error = installation.run("jmp", "shell", "--exporter-config", config, "--", "j", status=65)
    assert "wrong.yaml:13:3 export.spare: lab_harness.driver.MyDebugger: a debugger needs a child 'console'" in error


def test_its_tree_is_shown(installation: Installation) -> None:
    def squeeze(text: str) -> list[str]:
        return [re.sub(r"  +", "  ", line) for line in text.splitlines()]

    expected = squeeze(TREE)
    assert squeeze(installation.j())[: len(expected)] == expected


def test_its_commands_work_at_every_depth(installation: Installation) -> None:
    assert installation.j("harness", "debugger", "halt", "--at", "0x1000") == "halted at 0x00001000, 4000 kHz\n"
    assert installation.j("spare", "halt") == "halted at 0x80000000, 10 kHz\n"
    assert installation.j("harness", "sd", "state") == "dut\n"
    assert "core is running" in installation.j("harness", "debugger", "resume", status=70)
    help_text = installation.j("harness", "debugger", "--help")
    assert re.search(r"(?s)Debug the board.*console .*halt .*resume ", help_text)


def test_its_power_is_used_like_any_other(installation: Installation) -> None:
    script = installation.write("power.sh", "j supply on && j harness power cycle --wait 0 && j harness power read")
    config = installation.write("harness.yaml", HARNESS.format(port=8000))
    reading = installation.run("jmp", "shell", "--exporter-config", config, "--", "sh", script)
    assert re.fullmatch(r"\d\.\d{3} V  \d\.\d{3} A  \d\.\d{3} VA\n", reading)


def test_its_objects_are_used_from_python(installation: Installation, bench_port: int) -> None:
    config = installation.write("bench.yaml", HARNESS.format(port=bench_port))
    script = installation.write("session.py", SESSION)
    said = installation.run("jmp", "shell", "--exporter-config", config, "--", "python", "-W", "error", script)
    expected = [
        r"DriverInvalidArgument harness\.debugger\.resume: the core is running",
        r"DriverInvalidArgument harness\.debugger\.halt: .*\bat: expected int .*got 'here' \(str\)",
        r"DriverMethodNotImplemented harness\.debugger\._count: .*'_count'.*",
        r"this is the bench",
    ]
    assert re.fullmatch("\n".join(expected) + "\n", said), said


def test_configuration_of_a_package_that_is_missing_names_the_command_that_installs_it(
    installation: Installation,
) -> None:
    config = installation.write("dutlink.yaml", DUTLINK)
    assert installation.run("jmp", "config", "check", config, status=65).splitlines() == [
        f"jmp: error: dutlink.yaml:{place}.type: package 'jumpstarter_driver_dutlink' is not installed; "
        "pip install jumpstarter-driver-dutlink"
        for place in ("10:5 export.dutlink", "14:5 export.power")
    ]
