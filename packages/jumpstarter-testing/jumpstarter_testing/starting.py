"""Exporters that start although devices of theirs are not there, as those of `jmp run` do."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.core import DriverError
from jumpstarter.client.tree import Policy
from jumpstarter.common import ExporterStatus
from jumpstarter.driver import Driver
from jumpstarter.exporter import Session
from jumpstarter.exporter.upkeep import Tolerance


@contextmanager
def tolerant(root: Driver) -> Generator[Any]:
    """The client of an exporter with this tree."""
    with Session(root_device=root, tolerance=Tolerance()) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        with connect(Endpoint(str(path)), Policy(unsafe=True)) as client:
            yield client


def answers(call: Callable[[], object]) -> bool:
    """Whether a call of a driver succeeds, for `until`: a device that came back is noticed a while later."""
    try:
        call()
    except DriverError:
        return False
    return True
