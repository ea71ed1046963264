"""The USB that the tests have: emulated, or in the lab a real kernel's; an image; no marks that are left behind."""

import os
from pathlib import Path

import pytest
from jumpstarter_testing.usb.fixtures import usb_bench

__all__ = ["usb_bench"]

MIB = 1 << 20


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks are not left behind."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(MIB))
    return path
