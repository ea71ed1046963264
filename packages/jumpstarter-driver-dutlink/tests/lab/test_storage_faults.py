"""What only real block devices do: full, protected, broken, mounted, pulled."""

import subprocess
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter_driver_dutlink.driver import DutlinkStorageMux
from jumpstarter_driver_storage.client import StorageMuxFlasherClient
from jumpstarter_testing.usb.dutlink import DutlinkBoard
from jumpstarter_testing.usb.storage import MassStorage, let_cache
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

LINK = Path("/dev/disk/by-id/usb-SanDisk_3.2_Gen_1_5B4C0AB025C0-0:0")


@pytest.fixture
def storage(board: DutlinkBoard) -> Generator[StorageMuxFlasherClient]:
    driver = DutlinkStorageMux(off_seconds=0.1, storage_leeway=0, storage_device=str(LINK), storage_timeout=30)
    with serve(driver) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        yield client


def test_broken_protected_and_small_sticks_are_named(
    storage: StorageMuxFlasherClient, board: DutlinkBoard, stick: MassStorage, image: Path
) -> None:
    stick.bad_blocks = range(3000, 3001)
    with pytest.raises(DriverError, match=r"(write|flush) /dev/sd\w.*: input/output error"):
        storage.flash(image)
    stick.bad_blocks = range(0)
    assert storage.state() == "host"
    with pytest.raises(DriverError, match="incomplete"):
        storage.dut()
    assert board.mux == "host"
    storage.off()
    stick.is_protected = True
    with pytest.raises(DriverError, match="read-only"):
        storage.flash(image)
    stick.is_protected = False
    storage.off()
    storage.host()
    until(LINK.exists)
    stick.is_forgetful = True
    let_cache(LINK)
    with pytest.raises(DriverError, match=r"/dev/sd\w: input/output error when the data were brought to the medium"):
        storage.flash(image)
    with pytest.raises(DriverError, match="incomplete"):
        storage.dut()
    stick.is_forgetful = False
    storage.off()
    large = image.with_name("large")
    with large.open("wb") as file:
        file.write(image.read_bytes() * 5)
    with pytest.raises(DriverError, match="does not fit"):
        storage.flash(large)
    storage.flash(image)
    assert board.mux == "dut"


def test_mounted_stick_is_unmounted_when_it_leaves_and_stays_while_it_is_in_use(
    storage: StorageMuxFlasherClient, board: DutlinkBoard, tmp_path: Path
) -> None:
    storage.host()
    until(LINK.exists)
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", str(LINK)], check=True)
    subprocess.run(["mount", str(LINK), str(mountpoint)], check=True)
    with (mountpoint / "file").open("w") as file:
        file.write("written back when the stick leaves")
        with pytest.raises(DriverError, match=f"unmount {mountpoint} of .*: target is busy; in use by "):
            storage.dut()
        assert board.mux == "host"
    storage.dut()
    assert board.mux == "dut"
    assert not mountpoint.is_mount()
    storage.host()
    until(LINK.exists)
    subprocess.run(["mount", "-o", "ro", str(LINK), str(mountpoint)], check=True)
    assert (mountpoint / "file").read_text() == "written back when the stick leaves"
    storage.off()
    assert not mountpoint.is_mount()


def test_mounted_stick_is_not_taken_by_who_does_not_know_yet_where_it_is(board: DutlinkBoard, tmp_path: Path) -> None:
    """As an exporter that was started anew."""

    def new(link: str | None = None) -> DutlinkStorageMux:
        return DutlinkStorageMux(off_seconds=0.1, storage_leeway=0, storage_timeout=30, storage_device=link)

    with serve(new(str(LINK))) as client:
        client.call("host")
        until(LINK.exists)
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", str(LINK)], check=True)
    subprocess.run(["mount", str(LINK), str(mountpoint)], check=True)
    try:
        started_anew = new()
        started_anew.board().forget_position()
        with serve(started_anew) as client:
            for method in ("dut", "off", "host"):
                with pytest.raises(
                    DriverError, match=f"its storage may be /dev/sd.*: mounted on {mountpoint}; unmount"
                ):
                    client.call(method)
            assert board.mux == "host"
        assert mountpoint.is_mount()
    finally:
        subprocess.run(["umount", str(mountpoint)], check=True)
    with serve(new()) as client:
        client.call("dut")
    assert board.mux == "dut"


def test_board_pulled_in_the_middle_of_a_flash(
    usb_bench: KernelBench, storage: StorageMuxFlasherClient, board: DutlinkBoard, stick: MassStorage, image: Path
) -> None:
    pulled = threading.Event()

    def pull(written: int) -> None:
        if pulled.is_set():
            time.sleep(0.5)  # the rest takes until it is out
        elif written > 1000:
            pulled.set()
            threading.Thread(target=lambda: (usb_bench.unplug(stick), usb_bench.unplug(board))).start()

    stick.on_write = pull
    with pytest.raises(DriverError, match=r"(write|flush|verify) /dev/sd\w"):
        storage.flash(image)
    assert pulled.is_set()
    until(lambda: usb_bench.find(board) is None)
    stick.on_write = None
    usb_bench.plug(board)
    with pytest.raises(DriverError, match="incomplete"):
        storage.dut()
    assert board.mux != "dut"
    result = storage.flash(image)
    assert result is not None
    assert stick.path.read_bytes()[: image.stat().st_size] == image.read_bytes()
    assert board.mux == "dut"
