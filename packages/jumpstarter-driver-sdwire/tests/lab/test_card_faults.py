"""Cards that fail, behind the kernel's own drivers: worn, protected, small, and a reader that loses what it cached."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter_driver_sdwire.driver import SDWire
from jumpstarter_driver_storage.client import StorageMuxFlasherClient
from jumpstarter_testing.usb.sdwire import SdWireBoard
from jumpstarter_testing.usb.storage import let_cache
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

MIB = 1 << 20


@pytest.fixture
def board(usb_bench: KernelBench, tmp_path: Path) -> SdWireBoard:
    card = tmp_path / "card.img"
    card.write_bytes(bytes(4 * MIB))
    board = SdWireBoard(card=card)
    usb_bench.plug(board.reader, hub=1)
    usb_bench.plug(board, hub=1)
    return board


@pytest.fixture
def sdwire(board: SdWireBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[StorageMuxFlasherClient]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with serve(SDWire(storage_leeway=0, storage_timeout=30)) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        yield client


def refused(client: StorageMuxFlasherClient, board: SdWireBoard, image: Path, pattern: str) -> None:
    """Assert that an image does not get on the card, and the card not to the DUT."""
    with pytest.raises(DriverError, match=pattern):
        client.flash(image)
    assert board.side == "host"


def test_faults_of_the_card_are_named(
    usb_bench: KernelBench, sdwire: StorageMuxFlasherClient, board: SdWireBoard, tmp_path: Path
) -> None:
    image, large = tmp_path / "image", tmp_path / "large"
    image.write_bytes(os.urandom(2 * MIB))
    large.write_bytes(os.urandom(5 * MIB))
    reader = board.reader
    reader.bad_blocks = range(3000, 3001)
    refused(sdwire, board, image, r"(write|flush) /dev/sd\w.*: input/output error")
    with pytest.raises(DriverError, match="the medium is incomplete"):
        sdwire.dut()
    reader.bad_blocks = range(0)
    refused(sdwire, board, large, "does not fit: the medium has 4194304 bytes")
    found = usb_bench.find(reader)
    assert found is not None
    [disk] = until(lambda: usb_bench.host.disks(found))
    let_cache(disk)
    reader.is_forgetful = True
    refused(sdwire, board, image, r"/dev/sd\w: input/output error when the data were brought to the medium")
    reader.is_forgetful = False
    usb_bench.unplug(reader)
    reader.is_protected = True
    usb_bench.plug(reader, hub=1)
    refused(sdwire, board, image, "read-only")
    usb_bench.unplug(reader)
    reader.is_protected = False
    usb_bench.plug(reader, hub=1)
    sdwire.flash(image)
    assert board.side == "dut"
    assert reader.path.read_bytes()[: 2 * MIB] == image.read_bytes()
