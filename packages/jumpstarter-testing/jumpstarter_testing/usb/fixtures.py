"""Fixtures for tests of USB drivers, to be imported by a `conftest.py`."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.usb import use_host

from .bench import FakeBench
from .vhci import KernelBench

Bench = FakeBench | KernelBench


@pytest.fixture
def usb_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Bench]:
    """The USB that drivers see: an emulated one, or in the lab (`JMP_LAB`) that of a real kernel."""
    monkeypatch.setenv("JMP_LOCK_DIR", str(tmp_path))  # others may test with boards of the same serial
    bench = KernelBench() if os.environ.get("JMP_LAB") else FakeBench()
    with bench, use_host(bench.host):
        yield bench
