"""Devices that are absent, faulty or in use, drivers that hang, and what is handed back: with real exporters."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.tree import Policy
from jumpstarter.common.exceptions import DeviceAbsentError, DeviceFaultyError
from jumpstarter.common.limits import DRIVER_LIFE, SHUTDOWN
from jumpstarter.exporter.states import state_of
from processes import HERE, wait_for

if TYPE_CHECKING:
    from tests.conftest import Exporter, Lab

Write = Callable[..., Path]


def port(**config: Any) -> dict[str, Any]:
    """An entry of the tree."""
    keys = {key: config.pop(key) for key in ("required", "children", "description") if key in config}
    return {"type": f"drivers_of_states.{config.pop('kind', 'Port')}", "config": config, **keys}


@pytest.fixture
def write(lab: Lab) -> Write:
    """Write a configuration with entries, by name."""
    lab.environment |= {
        "PYTHONPATH": str(HERE),
        "JMP_LOCK_DIR": str(lab.directory),
        "JMP_DRIVERS_ALLOW": "UNSAFE",
        "XDG_STATE_HOME": str(lab.directory / "state"),
    }

    def written(name: str = "states", **entries: dict[str, Any]) -> Path:
        for tag, entry in entries.items():
            noted(lab, tag, entry)
        text = {
            "apiVersion": "jumpstarter.dev/v1alpha1",
            "kind": "ExporterConfig",
            "metadata": {"namespace": "default", "name": name},
            "export": entries,
        }
        return lab.write(name, yaml.safe_dump(text, sort_keys=False).replace("{", "{{").replace("}", "}}"))

    return written


def noted(lab: Lab, tag: str, entry: dict[str, Any]) -> None:
    if entry.get("type", "").startswith("drivers_of_states"):
        entry["config"] |= {"record": str(lab.directory / "record"), "tag": tag}
    for name, child in entry.get("children", {}).items():
        noted(lab, f"{tag}.{name}", child)


def events(lab: Lab) -> list[str]:
    """What the drivers noted."""
    record = lab.directory / "record"
    return record.read_text().splitlines() if record.exists() else []


def status(lab: Lab, name: str = "states") -> dict[str, Any]:
    """The states of the drivers, by path."""
    done = lab.run("jmp", "status", "--name", name, "-o", "json")
    assert done.returncode == 0, done.stderr
    return {driver["driver"]: driver for driver in json.loads(done.stdout)["drivers"]}


def client_of(exporter: Exporter) -> Any:
    return connect(Endpoint(exporter.address), Policy(unsafe=True))


def said(exporter: Exporter) -> str:
    return "\n".join(exporter.lines)


# absent and faulty


def test_an_exporter_starts_without_a_device_and_finds_it_later(lab: Lab, write: Write) -> None:
    device = lab.directory / "tty"
    with (
        lab.exporter(config=write(port=port(device=str(device)), other=port())) as exporter,
        client_of(exporter) as root,
    ):
        assert root.other.call("ping") == "pong"
        began = time.monotonic()
        with pytest.raises(
            Exception, match=r"port\.ping: the device is absent: .*No such file.*tty.*; connect"
        ) as caught:
            root.port.call("ping")
        assert time.monotonic() - began < 1
        assert (caught.value.code, caught.value.driver) == ("absent", "port")  # type: ignore[attr-defined]
        with pytest.raises(Exception, match="the device is absent"):
            list(root.port.streamingcall("items"))
        with pytest.raises(Exception, match="the device is absent"), root.port.stream():
            pass
        assert status(lab)["port"]["state"] == "absent"
        assert "driver port is absent: [Errno 2] No such file" in said(exporter)
        device.touch()
        assert root.port.call("ping") == "pong"  # at once, by the same client
        assert list(root.port.streamingcall("items")) == [1, 2]
        with root.port.stream() as stream:
            assert stream.receive() == b"word"
        assert status(lab)["port"]["state"] == "ready"
        assert "driver port is ready" in said(exporter)
        assert [event for event in events(lab) if event == "port reset"] == ["port reset"]
        assert exporter.stop() == 0
    assert events(lab)[-1].endswith("closed")
    assert "port closed" in events(lab)


def test_a_device_is_found_without_a_call(lab: Lab, write: Write) -> None:
    device = lab.directory / "tty"
    with lab.exporter(config=write(port=port(device=str(device)))) as exporter:
        device.touch()
        wait_for(lambda: "driver port is ready" in said(exporter), 30)
        assert "port reset" in events(lab)


def test_an_absent_device_is_said_once_and_in_one_line_by_j(lab: Lab, write: Write) -> None:
    with lab.exporter(config=write(port=port(device="/nonexistent/tty"))) as exporter:
        time.sleep(2.5)
        assert said(exporter).count("driver port is absent") == 1
        assert events(lab).count("port make") >= 2


def test_a_required_device_that_is_absent_is_fatal(lab: Lab, write: Write) -> None:
    board = {"children": {"port": port(device="/nonexistent/tty", required=True)}}
    done = lab.run("jmp", "run", "--exporter-config", write(other=port(), board=board))
    assert done.returncode == 70
    assert "board.port is required, and absent: [Errno 2]" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "other closed" in events(lab)


@pytest.mark.parametrize("fault", ["fail_make", "fail_reset"])
def test_a_required_driver_that_is_faulty_is_fatal(lab: Lab, write: Write, fault: str) -> None:
    done = lab.run("jmp", "run", "--exporter-config", write(port=port(required=True, **{fault: "RuntimeError"})))
    assert done.returncode == 70
    assert "port is required, and faulty: RuntimeError: as asked for" in done.stderr


def test_a_wrong_configuration_is_one_as_before(lab: Lab, write: Write) -> None:
    done = lab.run("jmp", "run", "--exporter-config", write(other=port(), port=port(fail_make="ValueError")))
    assert done.returncode == 65
    assert "export.port: drivers_of_states.Port cannot be made: ValueError: as asked for" in done.stderr
    assert "other closed" in events(lab)


@pytest.mark.parametrize("how", ["RuntimeError", "SystemExit"])
def test_a_constructor_that_fails_makes_a_driver_faulty(lab: Lab, write: Write, how: str) -> None:
    with lab.exporter(config=write(port=port(fail_make=how), other=port())) as exporter, client_of(exporter) as root:
        with pytest.raises(Exception, match=f"port.ping: the driver is faulty: {how}: as asked for"):
            root.port.call("ping")
        assert root.other.call("ping") == "pong"
        assert status(lab)["port"]["state"] == "faulty"
        assert exporter.stop() == 0


def test_a_reset_that_fails_keeps_calls_away_until_it_succeeds(lab: Lab, write: Write) -> None:
    fixed = lab.directory / "fixed"
    config = write(port=port(fail_reset=f"unless:{fixed}", children={"below": port()}), other=port())
    with lab.exporter(config=config) as exporter, client_of(exporter) as root:
        with pytest.raises(Exception, match=r"port\.ping: the device is absent: it does not answer"):
            root.port.call("ping")
        assert root.children["port"].children["below"].call("ping") == "pong"
        fixed.touch()
        assert root.port.call("ping") == "pong"
        assert events(lab).count("port.below reset") == 1
        assert events(lab).count("port make") == 1


@pytest.mark.parametrize(
    ("mode", "slow", "signum"),
    [("direct", "make", signal.SIGTERM), ("direct", "reset", signal.SIGINT), ("leased", "make", signal.SIGTERM)],
)
def test_an_exporter_that_is_stopped_while_it_starts_closes_what_is_there(
    lab: Lab, write: Write, mode: str, slow: str, signum: signal.Signals
) -> None:
    config = write(first=port(), slow=port(**{f"fail_{slow}": "hang"}), last=port())
    if mode == "leased":
        config.write_text(config.read_text() + "endpoint: 127.0.0.1:9\ntoken: secret\n")
    with lab.started(config=config) as exporter:
        wait_for(lambda: f"slow {slow}" in events(lab), 30)
        if slow == "make":
            assert "last make" not in events(lab)
        started = time.monotonic()
        assert exporter.stop(signum) == 0
        assert time.monotonic() - started < 10  # of 10 s for each driver that hangs, and more for those after it
    there = {"first"} if slow == "make" else {"first", "slow", "last"}
    assert {event.split()[0] for event in events(lab) if event.endswith("closed")} == there
    assert ("last make" in events(lab)) is (slow == "reset")
    with lab.exporter(config=write(first=port(), last=port())):  # nothing is left of it
        pass


def test_a_shell_that_is_stopped_while_its_devices_are_made_closes_what_is_there(lab: Lab, write: Write) -> None:
    config = write(first=port(), slow=port(fail_make="hang"), last=port())
    with lab.start("jmp", "shell", "--exporter-config", config, "--", "true") as shell:
        wait_for(lambda: "slow make" in events(lab), 30)
        started = time.monotonic()
        shell.terminate()
        assert shell.wait(60) == 128 + signal.SIGTERM
        assert time.monotonic() - started < 10
        assert shell.stderr is not None
        assert shell.stderr.read() == ""
    assert [event for event in events(lab) if event.endswith(("closed", "last make"))] == ["first closed"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no file", "absent: no file; connect the device, or correct"),
        ("port COM7 is not there; plug it in", "absent: port COM7 is not there; plug it in$"),
    ],
)
def test_what_to_do_about_a_device_is_said_once(said: str, told: str) -> None:
    assert re.search(told, str(state_of(FileNotFoundError(said))))


def test_a_constructor_that_hangs_does_not_keep_the_others(lab: Lab, write: Write) -> None:
    go = lab.directory / "go"
    lab.environment["PYTHONPATH"] += os.pathsep + str(lab.directory)
    lab.directory.joinpath("sitecustomize.py").write_text(
        "import jumpstarter.common.limits as l\nl.DRIVER_LIFE = 1.0\n"
    )
    with lab.exporter(config=write(port=port(fail_make=f"until:{go}"), other=port())) as exporter:
        with client_of(exporter) as root:
            assert root.other.call("ping") == "pong"
            with pytest.raises(Exception, match="absent: it is still being made after 1 s"):
                root.port.call("ping")
            go.touch()
            assert wait_for(lambda: root.port.call("ping"), 30) == "pong"
        assert events(lab).count("port make") == 1
        assert exporter.stop() == 0
    assert "port closed" in events(lab)


def test_a_device_that_goes_is_absent_until_a_call_succeeds(lab: Lab, write: Write) -> None:
    device = lab.directory / "tty"
    device.touch()
    with lab.exporter(config=write(port=port(device=str(device)))) as exporter, client_of(exporter) as root:
        device.unlink()
        with pytest.raises(DeviceAbsentError, match="is gone; plug it in again"):
            root.port.call("ping")
        assert status(lab)["port"] | {"reason": f"port {device} is gone"} == status(lab)["port"]
        device.touch()
        root.port.call("ping")
        assert status(lab)["port"]["state"] == "ready"


def test_a_driver_that_needs_an_absent_one_waits_for_it(lab: Lab, write: Write) -> None:
    device = lab.directory / "tty"
    config = write(board=port(kind="Needy", children={"port": port(device=str(device))}))
    with lab.exporter(config=config) as exporter, client_of(exporter) as root:
        with pytest.raises(Exception, match=r"board\.ask: the device is absent: it needs port, which is absent"):
            root.board.call("ask")
        assert status(lab)["board.port"]["state"] == "absent"
        device.touch()
        assert root.board.children["port"].call("ping") == "pong"
        assert root.board.call("ask") == "pong"
        assert Counter(events(lab))["board.port reset"] == 1


def test_a_second_name_for_a_part_of_an_absent_board_works_once_it_is_there(lab: Lab, write: Write) -> None:
    device = lab.directory / "tty"
    entries = {
        "hub": {"type": "hubs_of_states.Hub", "config": {"device": str(device)}},
        "second": {"ref": "hub.left"},
        "whole": {"ref": "hub"},
        "wrong": {"ref": "hub.right"},
    }
    lab.environment["PYTHONPATH"] = f"{HERE}{os.pathsep}{lab.directory}"
    lab.directory.joinpath("hubs_of_states.py").write_text(HUB)
    with lab.exporter(config=write(**entries)) as exporter, client_of(exporter) as root:
        with pytest.raises(Exception, match=r"second\.ping: the device is absent"):
            root.second.call("ping")
        with pytest.raises(AttributeError, match=r"no attribute or child 'left'.*; it is absent: \[Errno 2\]"):
            _ = root.hub.left
        for command in (["hub", "left", "ping"], ["second", "ping"]):
            done = lab.run("j", *command)
            assert done.returncode == 70
            assert f"j: error: {command[0]} is absent: [Errno 2] No such file" in done.stderr
            assert json.loads(lab.run("j", "-o", "json", *command).stderr)["code"] == "absent"
        assert "hub     (absent, see jmp status)" in lab.run("j").stdout
        assert {name: entry["state"] for name, entry in status(lab).items() if name} == dict.fromkeys(
            ("hub", "second", "whole", "wrong"), "absent"
        )
        device.touch()
        assert root.second.call("ping") == "pong"
        with client_of(exporter) as later:
            assert later.whole.children["left"].call("ping") == later.second.call("ping") == "pong"
            with pytest.raises(DeviceFaultyError, match=r"wrong\.ping: .*there is no driver 'right' in 'hub'"):
                later.wrong.call("ping")


HUB = """\
from dataclasses import dataclass
from pathlib import Path
from jumpstarter.driver import Driver, export

@dataclass(kw_only=True)
class Hub(Driver):
    device: str

    def __post_init__(self):
        super().__post_init__()
        Path(self.device).read_bytes()
        self.children["left"] = Left()

    @classmethod
    def client(cls):
        return "jumpstarter_driver_composite.client.CompositeClient"

class Left(Driver):
    @classmethod
    def client(cls):
        return "jumpstarter.client.DriverClient"

    @export
    def ping(self) -> str:
        return "pong"
"""


# one exporter per device


def test_two_exporters_never_have_one_device(lab: Lab, write: Write) -> None:
    link, device = lab.directory / "by-id", lab.directory / "tty"
    device.touch()
    link.symlink_to(device)
    first, second = write("first", port=port(physical=str(link))), write("second", b=port(physical=f"serial:{device}"))
    with lab.exporter(config=first) as exporter:
        before = events(lab)
        done = lab.run("jmp", "run", "--exporter-config", second)
        assert done.returncode == 75
        assert f"b: device {device} is in use by another exporter (process {exporter.process.pid}, " in done.stderr
        assert f"config {first}, driver port)" in done.stderr
        assert done.stderr.count("\n") == 1
        assert [event for event in events(lab)[len(before) :] if "reset" in event] == []
        assert status(lab, "first")["port"]["device"] == str(device)
        exporter.stop(signal.SIGKILL)
        with lab.exporter(config=second) as other:
            assert other.stop() == 0
    assert not list(lab.directory.glob("jumpstarter-*.lock"))


def test_drivers_of_one_exporter_may_share_a_device(lab: Lab, write: Write) -> None:
    with lab.exporter(config=write(a=port(physical="usb:1:2:X"), b=port(physical="USB:1:2:x"))) as exporter:
        assert exporter.stop() == 0


def test_a_lock_of_another_user_counts(lab: Lab, write: Write) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be two users")
    lab.directory.chmod(0o1777)
    with lab.exporter(config=write(port=port(physical="serial-4711"))) as exporter:
        (lock,) = lab.directory.glob("jumpstarter-serial-4711-*.lock")
        assert lock.stat().st_mode & 0o777 == 0o666
        code = "import os\nimport hashlib\nfrom jumpstarter.exporter.devicelocks import DeviceLocks\nos.setuid(65534)\n"
        take = "DeviceLocks('other').take('serial-4711', 'x')"
        for owner in (0, 1234):  # also where a third user's exporter made the file
            os.chown(lock, owner, owner)
            done = lab.run("python", "-c", code + take)
            assert f"in use by another exporter (process {exporter.process.pid}, config" in done.stderr
        exporter.stop(signal.SIGKILL)
        lock.chmod(0o444)  # cannot be written, so it names the wrong holder; the system knows better
        again = "from jumpstarter.exporter.devicelocks import holder, lock_file\n"
        done = lab.run("python", "-c", again + code + take + "\nprint(os.getpid(), holder(lock_file('serial-4711')))")
        assert done.stdout.split()[:3] == [done.stdout.split()[0], "process", f"{done.stdout.split()[0]},"]


# closing


def test_a_driver_that_hangs_or_fails_keeps_no_other_from_closing(lab: Lab, write: Write) -> None:
    def config(hang: str = "", fail: str = "") -> Path:
        children = {"hanging": port(fail_close=hang), "good": port()}
        last, after, second = port(fail_close=hang), port(), {"ref": "group.good"}
        return write(group={"children": children}, bad=port(fail_close=fail), last=last, after=after, second=second)

    def closing(*names: str) -> list[str]:
        return sorted(f"{name} {event}" for name in names for event in ("close", "closed"))

    def noted() -> list[str]:
        return sorted(event for event in events(lab) if "close" in event)

    with lab.exporter(config=config()) as exporter:
        assert exporter.stop() == 0
    assert noted() == closing("group.hanging", "group.good", "bad", "last", "after")
    (lab.directory / "record").unlink()
    with lab.exporter(config=config("hang", "RuntimeError")) as exporter:
        exporter.process.send_signal(signal.SIGTERM)
        expected = sorted([*closing("after", "group.good"), "bad close", "group.hanging close", "last close"])
        wait_for(lambda: noted() == expected, DRIVER_LIFE, noted)  # the others, while two of them hang
        assert exporter.process.wait(SHUTDOWN) == 70
        exporter.wait()
    assert noted() == expected
    for name in ("group.hanging", "bad", "last"):
        assert name in exporter.lines[-1]


# handing back


@pytest.mark.parametrize("kind", ["Supply"])
def test_a_device_is_handed_back_when_the_exporter_stops(lab: Lab, write: Write, kind: str) -> None:
    config = write(supply=port(kind=kind), kept=port(kind=kind, on_release="leave"), other=port(on_release="ping"))
    with lab.exporter(config=config) as exporter, client_of(exporter) as root:
        root.supply.call("on")
        root.kept.call("on")
        assert exporter.stop() == 0
    noted = events(lab)
    assert noted.index("supply off") < noted.index("supply close")
    assert "kept off" not in noted


def test_what_a_killed_exporter_left_is_made_good_before_the_next_is_ready(lab: Lab, write: Write) -> None:
    config = write(supply=port(kind="Supply"))
    with lab.exporter(config=config) as exporter, client_of(exporter) as root:
        root.supply.call("on")
        exporter.stop(signal.SIGKILL)
    assert events(lab)[-1] == "supply on"
    with lab.exporter(config=config) as exporter:
        assert events(lab)[-2:] == ["supply reset", "supply off"]
        assert any("did not end in order" in line for line in exporter.lines[:-1])
        assert exporter.stop() == 0
    (lab.directory / "record").unlink()
    with lab.exporter(config=config) as exporter:
        assert events(lab) == ["supply make", "supply reset"]


def test_what_cannot_be_handed_back_is_told_and_tried_at_the_next_start(lab: Lab, write: Write) -> None:
    config = write(supply=port(kind="Supply", fail_close="off"))
    with lab.exporter(config=config) as exporter, client_of(exporter) as root:
        root.supply.call("on")
        exporter.stop()
        assert "driver supply is not handed back as it should be: the relay does not answer" in said(exporter)
    with lab.exporter(config=config) as exporter:
        assert events(lab)[-1] == "supply off"


def test_a_word_that_is_no_method_is_a_wrong_configuration(lab: Lab, write: Write) -> None:
    done = lab.run("jmp", "run", "--exporter-config", write(supply=port(kind="Supply", on_release="of")))
    assert done.returncode == 65
    assert "on_release: Supply has no method 'of' without parameters; did you mean 'off'?" in done.stderr


# jmp status


def test_status_for_people(lab: Lab, write: Write) -> None:
    config = write(
        port=port(device="/nonexistent/tty"), group={"children": {"good": port()}}, bad=port(fail_make="OSError")
    )
    with lab.exporter(config=config) as exporter:
        done = lab.run("jmp", "status")
        assert done.returncode == 0, done.stderr
        first, *drivers = done.stdout.splitlines()
        assert first == f"states at {exporter.address} is LEASE_READY"
        assert [line.split()[:2] for line in drivers] == [
            ["port", "absent"],
            ["group", "ready"],
            ["group.good", "ready"],
            ["bad", "absent"],
        ]
        assert "No such file or directory: '/nonexistent/tty'; connect the device" in drivers[0]
        assert lab.run("jmp", "status", "--name", "none").returncode == 69
        assert lab.run("jmp", "status", "--name", "x", "--socket", "y").returncode == 2


def test_status_for_programs_over_tcp(lab: Lab, write: Write) -> None:
    listener = ("--tls-grpc-listener", "0", "--tls-grpc-insecure")
    with lab.exporter(*listener, config=write(port=port(physical="usb:1:2:3", description="a port"))) as exporter:
        done = lab.run("jmp", "status", "--tls-grpc", exporter.address, "--tls-grpc-insecure", "-o", "json")
        found = json.loads(done.stdout)
        assert (found["exporter"], found["status"], found["holder"]) == ("states", "LEASE_READY", None)
        assert found["drivers"][1] == {
            "driver": "port",
            "state": "ready",
            "reason": "",
            "hint": "",
            "device": "usb:1:2:3",
            "class": "drivers_of_states.Port",
            "description": "a port",
        }
