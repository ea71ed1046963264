"""What the tests that cross packages share."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def uv() -> str:
    """The path of uv: the one that runs us, the one on PATH, or the one that the scripts installed."""
    found = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools/bin"))
    if found is None:
        pytest.fail("uv is not installed; scripts/test brings it along")
    return found
