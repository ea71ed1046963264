"""What the core's tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from families import Family


@pytest.fixture
def family() -> Iterator[Family]:
    """A tag for processes; none of them lives in the end."""
    family = Family()
    yield family
    left = family.pids()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
