"""What the tests of every package have: a host of their own, as far as exporters know one from another."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # the machine may have other things to do
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def host_of_our_own() -> Iterator[Path]:
    """Sockets, records and the locks of devices are in a directory of this process; others run the same tests."""
    with tempfile.TemporaryDirectory(prefix="jmp") as directory, pytest.MonkeyPatch.context() as patch:
        for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "JMP_LOCK_DIR"):  # short: the path of a socket has to fit
            patch.setenv(variable, directory)
        yield Path(directory)


@pytest.fixture(autouse=True)
def errors_for_people() -> Iterator[None]:
    """A command that a test runs in its own process, with `-o json`, has that for itself."""
    yield
    if (errors := sys.modules.get("jumpstarter.cli.errors")) is not None:
        errors.use_json(False)
