"""What the tests of the console share."""

from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter_testing.serial import FakeSerial

PATIENCE = 60
"""Seconds after which something that should happen did not."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exporter's state directory, where logs go."""
    path = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(path))
    return path


@pytest.fixture
def device(tmp_path: Path) -> Generator[FakeSerial]:
    """A device that sends back what it gets."""
    with FakeSerial(tmp_path / "tty", answer=lambda typed: typed) as device:
        yield device


@pytest.fixture
def mute(tmp_path: Path) -> Generator[FakeSerial]:
    """A device that sends what the test lets it."""
    with FakeSerial(tmp_path / "tty") as device:
        yield device
