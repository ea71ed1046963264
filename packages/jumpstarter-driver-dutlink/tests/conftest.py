"""The USB that the tests have, emulated or in the lab a real kernel's, and a DUTLink with a stick behind it."""

import os
from pathlib import Path

import pytest
from jumpstarter_testing.usb.dutlink import DutlinkBoard
from jumpstarter_testing.usb.fixtures import Bench, usb_bench
from jumpstarter_testing.usb.storage import MassStorage

__all__ = ["usb_bench"]

MIB = 1 << 20


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs and marks are of one test only."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def stick(tmp_path: Path) -> MassStorage:
    path = tmp_path / "stick.img"
    path.write_bytes(bytes(8 * MIB))
    return MassStorage(path)


@pytest.fixture
def board(usb_bench: Bench, stick: MassStorage) -> DutlinkBoard:
    board = DutlinkBoard(stick=stick, scale=20)
    usb_bench.plug(board)
    return board


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(2 * MIB))
    return path
