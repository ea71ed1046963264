"""A guard whose absence no test notices might as well be absent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mutants import MUTANTS, Mutant, copy_core

if TYPE_CHECKING:
    from collections.abc import Iterable

PASSED, FAILED = 0, 1
"""What pytest ends with; a test that cannot be collected or found is something else."""


def run(directory: Path, tests: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run tests with the core that is in a directory."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "JMP_"))}
    environment["PYTHONPATH"] = str(directory)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout", "60", *tests]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=140, check=False)


def test_a_change_that_takes_no_guard_away_is_not_noticed(tmp_path: Path):
    harmless = Mutant("common/limits.py", "DRIVER_QUEUE = 64\n", "DRIVER_QUEUE = 60 + 4\n", ())
    harmless.apply(copy_core(tmp_path))
    done = run(tmp_path, {test for mutant in MUTANTS.values() for test in mutant.caught_by})
    assert done.returncode == PASSED, done.stdout
    with pytest.raises(AssertionError, match="has 0 times"):
        harmless.apply(tmp_path / "jumpstarter")


@pytest.mark.parametrize("name", MUTANTS)
def test_is_noticed_that(tmp_path: Path, name: str):
    mutant = MUTANTS[name]
    mutant.apply(copy_core(tmp_path))
    done = run(tmp_path, mutant.caught_by)
    assert done.returncode == FAILED, done.stdout
    assert " passed" not in done.stdout, f"not all of {mutant.caught_by} notice:\n{done.stdout}"
