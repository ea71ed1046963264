"""Flashing over the real wire, into files."""

import hashlib
import os
from pathlib import Path

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter_driver_storage.client import StorageMuxFlasherClient
from jumpstarter_driver_storage.driver import FileStorage


def test_an_image_arrives_and_goes_to_the_device(tmp_path: Path) -> None:
    image, medium = tmp_path / "image", tmp_path / "medium"
    image.write_bytes(os.urandom(9_000_001) + bytes(3_000_000) + os.urandom(5))
    with serve(FileStorage(path=str(medium))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        result = client.flash(image)
        assert client.state() == "dut"
        assert medium.read_bytes() == image.read_bytes()
        assert result is not None
        assert result.bytes == image.stat().st_size
        assert result.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
        client.dump(tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == image.read_bytes()


def test_a_medium_that_is_too_small_is_refused(tmp_path: Path) -> None:
    image, medium = tmp_path / "image", tmp_path / "medium"
    image.write_bytes(os.urandom(3_000_000))
    with serve(FileStorage(path=str(medium), size_bytes=2 << 20)) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        with pytest.raises(DriverError, match="does not fit"):
            client.flash(image)
        assert client.state() == "host"
        with pytest.raises(DriverError, match="incomplete"):
            client.dut()
