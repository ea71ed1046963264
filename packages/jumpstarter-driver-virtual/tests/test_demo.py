"""The tour, as users start it."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click import ClickException
from jumpstarter_driver_virtual import demo
from jumpstarter_driver_virtual.backstage import Backstage, DemoError


def test_the_demo_shows_every_part_and_cleans_up():
    command = [sys.executable, "-c", "from jumpstarter.cli.jmp import main; main()", "demo"]
    with tempfile.TemporaryDirectory(prefix="jmp") as directory:  # short: the path of a socket has to fit
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env={"TMPDIR": directory}, check=False
        )
        left = list(Path(directory).iterdir())
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("└─ board", "virtual-board login:", '"simulated": true', " VA", "wrote 15 bytes", "stage: off"):
        assert part in done.stdout
    assert done.stderr == ""
    assert left == []


def test_a_failing_step_fails_the_demo(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo, "CONFIG", demo.CONFIG.replace("VirtualBoard", "VirtualBord"))
    with pytest.raises(ClickException, match=r"the demo failed: jmp run.*VirtualBord"):
        demo.main("--yes")


def test_output_without_what_is_expected_is_a_failure():
    with Backstage() as backstage, pytest.raises(DemoError, match="no 'nonsense' in what it printed"):
        backstage.run("jmp version", expect="nonsense")
