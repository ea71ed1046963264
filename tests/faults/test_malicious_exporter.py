"""An exporter that lies steers no terminal, loads no code, keeps nobody waiting, and gets one line of error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.tree import Policy
from jumpstarter.common.exceptions import JumpstarterException
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from jumpstarter_testing.commands import Terminal
from malice import EVIL, Answer, answering, failing, report

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Lab

GENERIC = "jumpstarter.client.generic.GenericClient"

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def trap(lab: Lab) -> Path:
    """A module on the client's path that notes when it is imported."""
    sprung = lab.directory / "sprung"
    (lab.directory / "trap.py").write_text(
        f"""
import enum, pathlib
pathlib.Path({str(sprung)!r}).touch()
from jumpstarter.client import DriverClient
class Client(DriverClient): pass
class Color(enum.Enum): RED = 1
"""
    )
    lab.environment["PYTHONPATH"] = str(lab.directory)
    return sprung


def run(lab: Lab, address: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command that uses the exporter, which ends and obeys nobody."""
    done = lab.run(*command, JUMPSTARTER_HOST=address, JMP_GRPC_INSECURE="1")
    for text in (done.stderr, *([done.stdout] if "echo" not in command[-1] else [])):  # a program gets what was sent
        assert OBEYED.search(text) is None, text
        assert "Traceback" not in text, text
    assert not done.stdout.startswith("j: all is well")
    assert "\nj: all is well" not in done.stderr
    return done


VALUE = pb.DriverCallResponse(result={"string_value": EVIL}).SerializeToString()  # pyright: ignore[reportArgumentType]


def typed(text: str) -> bytes:
    return pb.DriverCallResponse(typed_result=text).SerializeToString()


RESULTS: dict[str, Answer] = {
    "a text": VALUE,
    "no message": b"\xff\xff",
    "nothing": lambda _: [],
    "not JSON": typed("{"),
    "deep": typed("[" * 50_000 + "]" * 50_000),
    "an enum of a class": typed('{"$": "enum", "c": "trap.Color", "v": 1}'),
    "an object of a class": typed('{"$": "object", "c": "trap.Client", "v": {}}'),
    "an unknown tag": typed('{"$": "code", "v": "import trap"}'),
    "a tag that is none": typed('{"$": {"$": []}, "v": 1}'),
    "a wrong value": typed('{"$": "bytes", "v": 7}'),
    "a huge number": typed("1" * 100_000),
    "a date that is none": typed('{"$": "datetime", "v": "never"}'),
    "no details": failing(b"\xff"),
    "details": failing(
        pb.ErrorDetails(
            code=EVIL,
            driver=EVIL,
            device=EVIL,
            operation=EVIL,
            message=EVIL,
            hint=EVIL,
            causes=[EVIL] * 20,
            traceback=EVIL,
        ).SerializeToString()
    ),
}


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("output", [(), ("-o", "json")], ids=["text", "json"])
def test_no_result_steers_a_terminal_or_loads_code(lab: Lab, trap: Path, result: str, output: tuple[str, ...]):
    with answering(GetReport=report(GENERIC).SerializeToString(), DriverCall=RESULTS[result]) as address:
        done = run(lab, address, "j", *output, "device", "echo")
        assert done.returncode in (0, 69, 70), done.stderr
        if done.returncode:
            assert done.stderr.count("\n") == 1, done.stderr
    assert not trap.exists()


def test_a_text_on_a_terminal_is_shown_as_it_is(lab: Lab):
    with answering(GetReport=report(GENERIC).SerializeToString(), DriverCall=VALUE) as address:
        environment = lab.environment | {"JUMPSTARTER_HOST": address, "JMP_GRPC_INSECURE": "1"}
        terminal = Terminal(["j", "device", "echo"], environment)
        try:
            shown = terminal.read_to_end().decode()
        finally:
            terminal.close()
    assert OBEYED.search(shown.replace("\r\n", "\n")) is None, shown
    assert "\\x1b]0;owned" in shown


@pytest.mark.parametrize("result", RESULTS)
def test_a_result_in_python_is_a_value_or_a_declared_error(result: str):
    with (
        answering(GetReport=report(GENERIC).SerializeToString(), DriverCall=RESULTS[result]) as address,
        connect(Endpoint(address, insecure=True), Policy()) as client,
    ):
        try:
            client.children["device"].call("echo", timeout=5)
        except JumpstarterException as e:
            assert OBEYED.search(str(e)) is None, e


@pytest.mark.parametrize("command", [("j",), ("j", "device", "--help"), ("j", "device", "echo", "--help"), ("j", "x")])
def test_help_and_lists_steer_no_terminal(lab: Lab, trap: Path, command: tuple[str, ...]):
    for client in (GENERIC, "trap.Client", "os.system", EVIL, ""):
        with answering(GetReport=report(client).SerializeToString()) as address:
            run(lab, address, *command)
    assert not trap.exists()


def chained(depth: int, root: pb.GetReportResponse) -> pb.GetReportResponse:
    """Drivers below drivers."""
    above = root.reports[0].uuid
    for i in range(depth):
        uuid = f"00000000-0000-0000-0000-{i:012}"
        root.reports.add(
            uuid=uuid, parent_uuid=above, labels={"jumpstarter.dev/name": "d", "jumpstarter.dev/client": ""}
        )
        above = uuid
    return root


def broken_reports() -> dict[str, bytes]:
    def changed(**fields: Any) -> bytes:
        made = report(GENERIC)
        for name, value in fields.items():
            if name == "name":
                made.reports[1].labels["jumpstarter.dev/name"] = value
            else:
                setattr(made.reports[1], name, value)
        return made.SerializeToString()

    return {
        "no message": b"\xff",
        "nothing": b"",
        "no parent": changed(parent_uuid="somewhere"),
        "its own parent": changed(parent_uuid="x", uuid="x"),
        "no uuid": changed(uuid="no uuid"),
        "name of two components": changed(name="a/b"),
        "name that steers": changed(name=EVIL),
        "long name": changed(name="a" * 10_000),
        "name of Python's": changed(name="__class__"),
        "no name": changed(name=""),
        "deep": chained(5000, report(GENERIC)).SerializeToString(),
    }


@pytest.mark.parametrize("kind", broken_reports())
def test_a_report_that_is_no_tree_is_one_line(lab: Lab, kind: str):
    with answering(GetReport=broken_reports()[kind]) as address:
        done = run(lab, address, "j", "device", "echo")
        assert done.returncode in (69, 70), (done.returncode, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
        with pytest.raises(JumpstarterException), connect(Endpoint(address, insecure=True), Policy()):
            pass


def lines(_: Any) -> list[bytes]:
    """A log."""
    made = [
        pb.LogStreamResponse(uuid=EVIL, severity=severity, message=EVIL, driver_type=EVIL, operation=EVIL)
        for severity in ("INFO", "WARNING", EVIL, "")
    ]
    return [*(line.SerializeToString() for line in made), b"\x10\xff", b"\xff"]


def test_its_log_steers_no_terminal(lab: Lab):
    with answering(GetReport=report(GENERIC).SerializeToString(), LogStream=lines, DriverCall=VALUE) as address:
        shell = ("jmp", "shell", "--tls-grpc", address, "--tls-grpc-insecure", "--exporter-logs", "--", "sleep", "1")
        done = run(lab, address, *shell)
        assert "evil" in done.stderr, done.stderr


NAMED = (
    "os.system",
    "subprocess.Popen",
    "antigravity.Client",
    "this.Client",
    "trap.Client",
    ".trap.Client",
    "trap",
    "jumpstarter_driver_trap.client.Client",
    "jumpstarter.client.trap.Client",
    "jumpstarter.exporter.session.Session",
    "jumpstarter.common.importlib.import_module",
    "__main__.Client",
    "trap:Client",
    "../trap.Client",
)
"""Client classes that no exporter may choose."""

WATCHED = """\
import sys
from jumpstarter.client.core import DriverError
from jumpstarter.utils.env import env
sys.path.insert(0, "")  # as for a script that lies there
seen, watching = set(), True
sys.addaudithook(lambda event, args: watching and event == "import" and seen.add(args[0].partition(".")[0]))
with env() as client:
    device = client.children["device"]
    str(device), repr(device), device.children, hasattr(device, "cli")
    try:
        device.call("echo", 1)
    except DriverError:
        pass
watching = False
forbidden = {"trap", "jumpstarter_driver_trap", "antigravity", "this"}
assert not seen & forbidden, seen & forbidden
assert "jumpstarter.exporter" not in sys.modules
print("untouched")
"""


@pytest.mark.parametrize("named", NAMED)
def test_no_client_class_that_an_exporter_names_is_imported(lab: Lab, trap: Path, named: str):
    package = lab.directory / "jumpstarter_driver_trap"  # looks like one of ours, and is registered nowhere
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "client.py").write_text((lab.directory / "trap.py").read_text())
    with answering(GetReport=report(named).SerializeToString(), DriverCall=VALUE) as address:
        commands = ("j", "device", "echo"), ("jmp", "shell", "--tls-grpc", address, "--tls-grpc-insecure", "--", "j")
        for command in (("python", "-c", WATCHED), *(commands if named.endswith("trap.Client") else ())):
            done = lab.run("env", "-C", lab.directory, *command, JUMPSTARTER_HOST=address, JMP_GRPC_INSECURE="1")
            assert "untouched" in done.stdout or command[0] != "python", done.stderr
    assert not trap.exists()
