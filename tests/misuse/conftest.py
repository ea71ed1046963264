"""What the cases of misuse share: one bench for all of them, and the file of what they said when last reviewed."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the modules beside this one

from misuse_bench import Bench  # noqa: E402
from misuse_golden import Golden  # noqa: E402

if TYPE_CHECKING:
    from tests.conftest import Lab

UPDATE = "JMP_UPDATE_GOLDEN"
"""Environment variable: write down what is said now."""


@pytest.fixture(scope="session")
def golden() -> Generator[Golden]:
    """What every case said when it was last reviewed."""
    golden = Golden(HERE / "golden.txt", update=bool(os.environ.get(UPDATE)))
    yield golden
    golden.save()


@pytest.fixture(scope="session")
def bench(shared_lab: Lab) -> Generator[Bench]:
    """Exporters and files to misuse."""
    with Bench(shared_lab, HERE) as bench:
        yield bench
