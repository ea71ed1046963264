"""What the tests of leases share: a controller with a router, exporters as processes, and clients of both."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "faults")]  # for the modules beside this one, and the drivers that note

from fakecontroller import FakeController  # noqa: E402
from leasebench import LeaseBench  # noqa: E402

if TYPE_CHECKING:
    from tests.conftest import Lab

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # they look into /proc


@pytest.fixture
def controller(certificate: tuple[Path, Path]) -> Iterator[FakeController]:
    """A controller that knows the client alice."""
    with FakeController(*(file.read_bytes() for file in certificate)) as controller:
        controller.add_client("alice")
        yield controller


@pytest.fixture
def bench(lab: Lab, controller: FakeController) -> LeaseBench:
    """Exporters of that controller, and its clients."""
    lab.environment |= {"PYTHONPATH": str(HERE.parent / "faults"), "TMPDIR": str(lab.directory)}
    return LeaseBench(lab, controller)
