"""The commands that only tell: help, versions, drivers, configurations; and what they cost."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Lab

COMMANDS = [
    [],
    ["run"],
    ["shell"],
    ["config"],
    ["config", "check"],
    ["driver"],
    ["driver", "list"],
    ["completion"],
    ["version"],
]
HEAVY = {"grpc", "yaml", "pydantic", "rich", "anyio", "asyncio", "google.protobuf"}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(lab: Lab, command: list[str]):
    done = lab.run("jmp", *command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout
    assert done.stderr == ""


def test_help_of_the_demo_is_that_of_the_tour(lab: Lab):
    done = lab.run("jmp", "demo", "--help")
    assert done.returncode == 0
    assert "Usage: jmp demo" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["driver", "--help"], ["config", "--help"]])
def test_what_only_tells_loads_nothing_heavy(lab: Lab, arguments: list[str]):
    assert not modules_of(lab, "jmp", *arguments) & HEAVY


def test_using_a_device_loads_little(lab: Lab):
    with lab.exporter():
        modules = modules_of(lab, "j", "power", "on")
    assert "grpc" in modules
    assert not modules & {"yaml", "pydantic", "rich", "anyio", "jumpstarter.exporter", "jumpstarter.driver"}
    assert len(modules) < 400


def modules_of(lab: Lab, program: str, *arguments: str) -> set[str]:
    """What a command has imported when it ends."""
    script = (
        "import os, sys\n"
        "def end(status, said=sys.stderr): print(*sys.modules, sep='\\n', file=said, flush=True)\n"
        "import os; leave = os._exit\n"
        "os._exit = lambda status: (end(status), leave(status))\n"
        f"sys.argv[0] = '{program}'\n"
        f"from jumpstarter.cli.{program} import main\n"
        "try: main()\n"
        "except SystemExit as e: end(e.code)\n"
    )
    done = lab.run(sys.executable, "-c", script, *arguments)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_versions_are_told_to_people_and_programs(lab: Lab):
    assert lab.run("jmp", "version").stdout.startswith("Jumpstarter 1.")
    told = json.loads(lab.run("jmp", "version", "-o", "json").stdout)
    assert told["jumpstarter"].startswith("1.")
    assert lab.run("jmp", "v").stdout == lab.run("jmp", "version").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["versoin"], "did you mean 'version'?"),
        (["version", "--outptu"], "--output"),
        (["driver", "lst"], "did you mean 'list'?"),
        (["--log-level", "LOUD", "version"], "LOUD"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(lab: Lab, arguments: list[str], said: str):
    done = lab.run("jmp", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("jmp: error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_tracebacks_are_shown_on_request_only(lab: Lab):
    command = ("jmp", "run", "--exporter-config", "/nonexistent")
    assert "Traceback" not in lab.run(*command).stderr
    for done in (lab.run(*command, JMP_DEBUG="1"), lab.run("jmp", "--debug", *command[1:])):
        assert "Traceback" in done.stderr
        assert done.returncode == 65


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_for_both_commands(lab: Lab, shell: str):
    script = lab.run("jmp", "completion", shell).stdout
    assert "_JMP_COMPLETE" in script
    assert "_J_COMPLETE" in script


def test_shells_are_told_how_a_command_goes_on(lab: Lab):
    asked = {"_JMP_COMPLETE": "bash_complete", "COMP_WORDS": "jmp ver", "COMP_CWORD": "1"}
    assert lab.run("jmp", **asked).stdout == "plain,version\n"
    with lab.exporter():
        asked = {"_J_COMPLETE": "bash_complete", "COMP_WORDS": "j power o", "COMP_CWORD": "2"}
        assert lab.run("j", **asked).stdout.split() == ["plain,off", "plain,on"]


def test_installed_drivers_are_listed(lab: Lab):
    rows = {row["name"]: row for row in json.loads(lab.run("jmp", "driver", "list", "-o", "json").stdout)}
    power = rows["MockPower"]
    assert power["type"] == "jumpstarter_driver_power.driver.MockPower"
    assert power["distribution"] == "jumpstarter-driver-power"
    assert power["version"]
    assert power["error"] is None
    table = lab.run("jmp", "driver", "ls").stdout
    assert any(line.split()[:2] == ["MockPower", power["type"]] for line in table.splitlines())


def test_a_broken_driver_package_does_not_break_the_list(lab: Lab):
    bad = {
        "missing": ("no_such_module:Missing", "ModuleNotFoundError"),
        "exits": ("exits:Exits", "SystemExit"),
        "attribute": ("attribute:Nothing", "AttributeError"),
        "no-driver": ("attribute:NotOne", "not a driver class"),
    }
    info = lab.directory / "broken_lab-0.1.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: broken-lab\nVersion: 0.1\n")
    points = "\n".join(f"{name} = {value}" for name, (value, _) in bad.items())
    info.joinpath("entry_points.txt").write_text(f"[jumpstarter.drivers]\n{points}\n")
    lab.directory.joinpath("exits.py").write_text("print('noise on stdout')\nraise SystemExit('\\x1b[31mno')")
    lab.directory.joinpath("attribute.py").write_text("class NotOne: pass")
    done = lab.run("jmp", "driver", "list", "-o", "json", PYTHONPATH=str(lab.directory))
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["MockPower"]["error"] is None
    for name, (_, error) in bad.items():
        assert error in rows[name]["error"]
        assert rows[name]["distribution"] == "broken-lab"
    assert "\x1b" not in lab.run("jmp", "driver", "list", PYTHONPATH=str(lab.directory)).stdout


def test_a_good_configuration_is_shown_as_a_tree(lab: Lab):
    done = lab.run("jmp", "config", "check", lab.config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{lab.config}: ok, 2 drivers",
        "├─ power    jumpstarter_driver_power.driver.MockPower",
        "└─ lab",
        "   └─ echo  jumpstarter_driver_network.driver.EchoNetwork",
    ]


def test_every_problem_of_a_configuration_is_a_line(lab: Lab):
    text = lab.config.read_text().replace("MockPower", "MokPower").replace("metadata:", "colour: red\nmetadata:")
    bad = lab.write("bad", text)
    done = lab.run("jmp", "config", "check", bad, lab.config)
    assert done.returncode == 65
    assert done.stdout.startswith(f"{lab.config}: ok")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"jmp: error: {bad}:3:1 colour: ")
    assert lines[1].startswith(f"jmp: error: {bad}:9:")
    assert "did you mean 'MockPower'?" in lines[1]


def test_a_check_is_quicker_than_hardware(lab: Lab):
    """A driver that would block when it is made is not made."""
    lab.directory.joinpath("slow.py").write_text(
        "import time\nfrom dataclasses import dataclass\n"
        "from jumpstarter_driver_power.driver import MockPower\n"
        "@dataclass(kw_only=True)\nclass Slow(MockPower):\n"
        "    def __post_init__(self): time.sleep(60)\n"
    )
    config = lab.write("slow", lab.config.read_text().replace("jumpstarter_driver_power.driver.MockPower", "slow.Slow"))
    done = lab.run("jmp", "config", "check", config, PYTHONPATH=str(lab.directory))
    assert done.returncode == 0, done.stderr


def test_the_demo_says_what_is_missing():
    program = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if 'virtual' in name else found(name)\n"
        "sys.argv = ['jmp', 'demo']\n"
        "from jumpstarter.cli.jmp import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 65
    assert "pip install jumpstarter-driver-virtual" in done.stderr


def test_an_output_option_behind_the_device_is_told_where_it_belongs(shared_lab: Lab):
    done = shared_lab.run(
        "jmp", "shell", "--exporter-config", shared_lab.config, "--", "j", "power", "on", "-o", "json"
    )
    assert done.returncode == 2
    assert done.stderr.endswith("(write it before the device: j -o json ...)\n")
