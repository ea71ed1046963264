"""Plugin of pytest for the tests that run in the lab (`-p jumpstarter_testing.lab`): udev, as on a real machine."""

import subprocess
from collections.abc import Generator

import pytest


@pytest.fixture(scope="session", autouse=True)
def udev() -> Generator[None]:  # pyright: ignore[reportUnusedFunction] pytest calls it
    """The daemon that makes links, loads drivers for what is plugged in, and knows its properties."""
    subprocess.run(["/lib/systemd/systemd-udevd", "--daemon", "--resolve-names=never"], check=True)
    yield
    subprocess.run(["udevadm", "control", "--exit"], check=False)
