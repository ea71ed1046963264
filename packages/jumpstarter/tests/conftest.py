"""What the core's tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from families import Family
from jumpstarter.streams.encoding import Compression


@pytest.fixture(params=list(Compression))
def encoding(request: pytest.FixtureRequest) -> Compression:
    """Each of the encodings; zstd's library is an extra."""
    if request.param is Compression.ZSTD:
        pytest.importorskip("backports.zstd")
    return request.param


@pytest.fixture
def family() -> Iterator[Family]:
    """A tag for processes; none of them lives in the end."""
    family = Family()
    yield family
    left = family.pids()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
