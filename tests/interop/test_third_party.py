"""Driver packages that somebody else wrote for the public release work on our core as they do on that one.

They are in third_party/: standard dataclasses on top of the core's and pydantic's, undecorated subclasses, clients with
click groups of their own, children made in `__post_init__`, references, files, and the log.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from releases import NEWEST, OURS

PACKAGES = Path(__file__).parent / "third_party"
NAMES = ("bench_supply", "bench_console", "bench_harness")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, uv: str) -> Path:
    """A folder into which the packages were installed, alone."""
    folder = tmp_path_factory.mktemp("third-party")
    packages = [str(PACKAGES / name) for name in NAMES]
    run(uv, "pip", "install", "--quiet", "--no-config", "--no-deps", "--target", str(folder), *packages)
    return folder


def run(*command: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JMP_", "JUMPSTARTER_"))}
    done = subprocess.run(
        command, env=kept | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("release", [OURS, NEWEST])
def test_they_work(release: str, installed: Path, bins: Callable[[str], Path]) -> None:
    python = str(bins(release) / "python")
    said = run(python, str(PACKAGES / "use.py"), str(PACKAGES / "bench.yaml"), PYTHONPATH=str(installed), TERM="dumb")
    assert said.endswith("all is well\n"), said


def test_our_commands_know_them(installed: Path, bins: Callable[[str], Path]) -> None:
    known = run(str(bins(OURS) / "jmp"), "driver", "list", PYTHONPATH=str(installed))
    for name in ("BenchSupply", "Consoles", "Harness"):
        assert name in known
