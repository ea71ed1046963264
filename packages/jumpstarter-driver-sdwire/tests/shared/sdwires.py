"""What the tests of SDWire boards share: a card, and the driver with times that nobody has to wait for."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.common.utils import serve
from jumpstarter_driver_sdwire.driver import SDWire
from jumpstarter_driver_storage.client import StorageMuxFlasherClient

MIB = 1 << 20

CARD = 4 * MIB
"""Bytes of a card."""


def card(tmp_path: Path, name: str = "card") -> Path:
    """The file of an empty card."""
    path = tmp_path / f"{name}.img"
    path.write_bytes(bytes(CARD))
    return path


@contextmanager
def sdwire(**config: Any) -> Generator[StorageMuxFlasherClient]:
    """The client of a driver."""
    quick: dict[str, Any] = {"storage_leeway": 0, "storage_timeout": 30, "recovery_seconds": 0.2}
    with serve(SDWire(**(quick | config))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        yield client


def refused(pattern: str, **config: Any) -> None:
    """Assert that no exporter starts with that, and why."""
    with pytest.raises(Exception, match=pattern), serve(SDWire(**config)):
        pass
