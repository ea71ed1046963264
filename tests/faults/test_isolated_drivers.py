"""A driver that ends its process takes the exporter along, or with `isolate: process` only itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Lab

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: demo}}
export:
  bad:
    type: crashdrivers.Crasher{isolate}
  good:
    type: crashdrivers.Lamp
"""


def config(lab: Lab, isolate: bool) -> Path:
    drivers = Path(__file__).parents[2] / "packages/jumpstarter/tests"
    lab.environment["PYTHONPATH"] = str(drivers)
    path = lab.directory / "crashing.yaml"
    path.write_text(CONFIG.format(isolate="\n    isolate: process" if isolate else ""))
    return path


@pytest.mark.parametrize("kill", [["segfault"], ["exit", "--status", "3"]])
def test_an_isolated_driver_that_crashes_ends_alone(lab: Lab, kill: list[str]) -> None:
    with lab.exporter(config=config(lab, isolate=True)):
        exporter = lab.run("j", "good", "process").stdout
        assert lab.run("j", "bad", "process").stdout != exporter
        began = time.monotonic()
        done = lab.run("j", "bad", *kill)
        assert time.monotonic() - began < 10
        assert done.returncode == 70
        assert len(done.stderr.splitlines()) == 1
        assert f"bad.{kill[0]}: its process" in done.stderr
        assert lab.run("j", "good", "process").stdout == exporter
        again = lab.run("j", "bad", "process")
        assert again.returncode == 0
        assert again.stdout != exporter
        pid = int(again.stdout)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_that_is_not_isolated_takes_the_exporter_along(lab: Lab) -> None:
    with lab.exporter(config=config(lab, isolate=False)) as exporter:
        assert lab.run("j", "bad", "process").stdout == lab.run("j", "good", "process").stdout
        done = lab.run("j", "bad", "exit", "--status", "3")
        assert done.returncode == 69
        assert exporter.wait() == 3
