"""`jmp record`: the records of exporters that run, stopped, or were killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Lab

SLOW = """\
import os, time
from dataclasses import dataclass
from jumpstarter.driver import Driver, export

@dataclass(kw_only=True)
class Slow(Driver):
    password: str = "driver-password"
    device: str = ""

    @classmethod
    def client(cls):
        return "jumpstarter.client.DriverClient"

    def __post_init__(self):
        super().__post_init__()
        if self.device:
            os.stat(self.device)

    @export
    def wait(self, seconds: float):
        time.sleep(seconds)

    @export
    def die(self):
        os._exit(9)

    @export
    def say(self, times: int):
        for number in range(times):
            self.logger.info("line %d of %s", number, self.password)
"""

SLOW_CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: {name}
token: token-of-the-exporter
export:
  slow:
    type: slow.Slow
    config:
      password: password-of-the-driver
  power:
    type: jumpstarter_driver_power.driver.MockPower
"""

CALL = "from jumpstarter.utils.env import env\nwith env() as client:\n    {}"


@pytest.fixture
def slow(lab: Lab) -> Path:
    """A configuration with a driver that takes its time."""
    lab.environment |= {
        "PYTHONPATH": str(lab.directory),
        "JMP_DRIVERS_ALLOW": "UNSAFE",
        "JUMPSTARTER_HOST": str(lab.runtime / "slow.sock"),
    }
    lab.directory.joinpath("slow.py").write_text(SLOW)
    return lab.write("slow", SLOW_CONFIG)


def records(lab: Lab) -> Path:
    return lab.directory / "home" / ".local" / "state" / "jumpstarter" / "records"


def entries(lab: Lab, *options: str) -> list[dict[str, Any]]:
    """What `jmp record show -o json` prints, which is nothing where there is no record yet."""
    done = lab.run("jmp", "record", "show", "-o", "json", *options)
    assert done.returncode == 0 or "no records in" in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def eventually(lab: Lab, *options: str, until: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The same, once it is as expected."""
    deadline = time.monotonic() + 60
    while not until(found := entries(lab, *options)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_a_session_is_shown_as_a_timeline(lab: Lab):
    with lab.exporter() as exporter:
        assert lab.run("j", "power", "cycle", "--wait", "0.1").returncode == 0
        exporter.stop()
    done = lab.run("jmp", "record", "show")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert "of exporter demo (process " in head
    assert any("call     power.cycle(wait=0.1)  1" in line and line.endswith(" ms  ok") for line in lines), lines
    assert any("log      INFO    power.cycle: power off" in line for line in lines), lines
    assert "ended after" in lines[-1]
    assert "1 calls (0 failed)" in lines[-1]
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)


def test_sessions_are_listed_with_how_they_ended(lab: Lab):
    with lab.exporter() as exporter:
        lab.run("j", "power", "on")
        eventually(lab, "--kind", "call", until=bool)
        listed = lab.run("jmp", "record", "list")
        assert "goes on" in listed.stdout, listed
        exporter.stop(signal.SIGKILL)
    with lab.exporter() as exporter:
        lab.run("j", "power", "on")
        exporter.stop()
    rows = json.loads(lab.run("jmp", "record", "list", "-o", "json").stdout)
    assert rows[0]["end"] == "cut off"
    assert rows[-1]["end"].startswith("after ")
    assert {row["exporter"] for row in rows} == {"demo"}
    assert lab.run("jmp", "record", "show", rows[0]["session"]).returncode == 0
    assert json.loads(lab.run("jmp", "record", "list", "-o", "json", "--exporter", "other").stdout) == []


def test_records_are_private(lab: Lab):
    with lab.exporter() as exporter:
        lab.run("j", "power", "on")
        exporter.stop()
    [path] = records(lab).glob("demo/*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(records(lab).stat().st_mode) == 0o700


def test_a_record_ends_readable_when_the_exporter_is_killed(lab: Lab, slow: Path):
    with lab.exporter(config=slow) as exporter:
        assert lab.run("j", "power", "on").returncode == 0
        caller = lab.start("python", "-c", CALL.format("client.children['slow'].call('wait', 60)"))
        eventually(lab, "--kind", "calls", until=lambda found: any(e["outcome"] == "running" for e in found))
        exporter.stop(signal.SIGKILL)
        caller.communicate(timeout=60)
    calls = entries(lab, "--kind", "calls")
    assert [(call["method"], call["outcome"]) for call in calls] == [("on", "ok"), ("wait", "running")]
    [path] = records(lab).glob("slow/*")
    with path.open("ab") as file:
        file.write(b'{"kind":"call","half a li')
    assert entries(lab, "--kind", "calls") == calls
    shown = lab.run("jmp", "record", "show")
    assert shown.returncode == 0
    assert "slow.wait(seconds=60)  still running" in shown.stdout
    followed = lab.run("jmp", "record", "show", "--follow")  # nobody writes it: that ends
    assert followed.returncode == 0
    with lab.exporter(config=slow):
        assert path.exists()


def test_a_call_that_ends_the_exporter_leaves_what_was_before(lab: Lab, slow: Path):
    with lab.exporter(config=slow):
        lab.run("j", "power", "on")
        eventually(lab, "--kind", "call", until=bool)
        lab.run("python", "-c", CALL.format("client.children['slow'].call('die')"))
    assert [call["method"] for call in entries(lab, "--kind", "call")] == ["on"]


def test_a_device_that_comes_and_goes_is_on_record(lab: Lab, slow: Path):
    device = lab.directory / "device"
    config = lab.write("slow", SLOW_CONFIG.replace("    config:\n", f"    config:\n      device: {device}\n"))
    with lab.exporter(config=config):
        device.write_text("")
        code = CALL.format("client.children['slow'].call('wait', 0)")
        assert lab.run("python", "-c", code).returncode == 0
        found = eventually(lab, "--kind", "state", until=lambda found: len(found) == 2)
    assert [(entry["driver"], entry["state"]) for entry in found] == [("slow", "absent"), ("slow", "ready")]
    assert "device" in found[0]["reason"]
    shown = lab.run("jmp", "record", "show", "--kind", "states").stdout
    assert "state    slow  absent: " in shown
    assert "state    slow  ready" in shown


def test_a_client_that_is_killed_is_on_record(lab: Lab, slow: Path):
    with lab.exporter(config=slow):
        code = CALL.format("s = client.children['slow']; print(s.call('wait', 0), flush=True); s.call('wait', 60)")
        caller = subprocess.Popen(
            ["python", "-c", code], env=lab.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert caller.stdout is not None
        caller.stdout.readline()
        eventually(lab, "--kind", "call", until=lambda found: any(e.get("outcome") == "running" for e in found))
        caller.kill()
        caller.wait(60)
        caller.stdout.close()
        found = eventually(
            lab, "--kind", "call", until=lambda found: any(e.get("outcome") == "cancelled" for e in found)
        )
        assert [(call["method"], call["outcome"]) for call in found] == [("wait", "ok"), ("wait", "cancelled")]


def test_a_record_can_be_followed(lab: Lab):
    with lab.exporter() as exporter:
        lab.run("j", "power", "read", "--count", "1")
        eventually(lab, "--kind", "call", until=bool)
        follower = subprocess.Popen(
            ["jmp", "record", "show", "--follow", "--kind", "calls", "--driver", "power"],
            env=lab.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert follower.stdout is not None
            assert "exporter demo" in follower.stdout.readline()
            assert "power.read()" in follower.stdout.readline()
            for command in ("on", "off"):
                lab.run("j", "power", command)
                while f"power.{command}()" not in (line := follower.stdout.readline()):
                    assert "running" in line or "power.read()" in line  # a slow call is told twice
            exporter.stop()
            assert follower.wait(60) == 0
        finally:
            follower.kill()
            follower.communicate()


def test_what_is_shown_can_be_chosen(lab: Lab, slow: Path):
    with lab.exporter(config=slow):
        lab.run("j", "power", "on")
        lab.run("python", "-c", CALL.format("client.children['slow'].call('say', 3)"))
        eventually(lab, "--driver", "slow", until=lambda found: any(e["kind"] == "call" for e in found))
        assert {entry["kind"] for entry in entries(lab, "--driver", "power")} == {"call", "log"}
        assert {entry.get("driver") for entry in entries(lab, "--driver", "slow")} == {"slow"}
        assert len(entries(lab, "--kind", "logs", "--driver", "slow")) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nonsense"], "no session 'nonsense'"),
        (["--kind", "cals"], "did you mean 'call'?"),
        (["2"], "sessions begin with '2'"),
        (["--exporter", "other"], "no records in"),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(lab: Lab, options: list[str], said: str):
    for _ in range(2):
        with lab.exporter() as exporter:
            lab.run("j", "power", "on")
            exporter.stop()
    done = lab.run("jmp", "record", "show", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_secret_of_a_configuration_is_on_record(lab: Lab, slow: Path):
    tcp = ("--tls-grpc-listener", "0", "--tls-grpc-insecure")
    with lab.exporter(*tcp, config=slow, JMP_GRPC_PASSPHRASE="passphrase-of-the-port") as exporter:
        there = {"JUMPSTARTER_HOST": exporter.address, "JMP_GRPC_INSECURE": "1"}
        for passphrase in ("passphrase-of-the-port", "wrong-passphrase"):
            code = CALL.format("client.children['slow'].call('say', 3)")
            lab.run("python", "-c", code, JMP_GRPC_PASSPHRASE=passphrase, **there)
        exporter.stop()
    written = b"".join(path.read_bytes() for path in records(lab).glob("*/*"))
    assert b"line 2 of ***" in written
    for secret in (b"password-of-the-driver", b"token-of-the-exporter", b"passphrase-of-the-port", b"wrong-passphrase"):
        assert secret not in written


def test_two_exporters_at_once_have_records_of_their_own(lab: Lab):
    other = lab.write("other")
    with lab.exporter() as demo, lab.exporter(config=other) as beside:
        for name in ("demo", "other"):
            done = lab.run("jmp", "shell", "--name", name, "--", "j", "power", "on" if name == "demo" else "off")
            assert done.returncode == 0, done.stderr
        # and one of the same name beside it, on a socket of its own
        again = lab.run("jmp", "shell", "--exporter-config", other, "--", "j", "power", "cycle", "--wait", "0")
        assert again.returncode == 0, again.stderr
        demo.stop()
        beside.stop()
    rows = json.loads(lab.run("jmp", "record", "list", "-o", "json").stdout)
    used: dict[str, set[str]] = {}
    for row in rows:
        calls = [json.loads(line) for line in Path(row["path"]).read_text().splitlines()]
        used.setdefault(row["exporter"], set()).update(e["method"] for e in calls if e["kind"] == "call")
    assert used == {"demo": {"on"}, "other": {"off", "cycle"}}


@pytest.mark.skipif(os.getuid() == 0 and not Path("/proc/self").exists(), reason="needs a place nobody can write")
def test_a_place_that_cannot_be_written_is_named_once_and_the_exporter_runs(lab: Lab):
    with lab.exporter(XDG_STATE_HOME="/proc/self") as exporter:
        for _ in range(3):
            assert lab.run("j", "power", "on").returncode == 0
            time.sleep(0.1)
        warnings = [line for line in exporter.lines if "record cannot be written" in line]
        assert len(warnings) == 1, exporter.lines
        assert "/proc/self/jumpstarter/records/demo" in warnings[0]
        assert exporter.stop() == 0
