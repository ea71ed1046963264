"""The storage mux of a DUTLink, over the real wire, on an emulated bus and in the lab on a kernel's."""

import gzip
import hashlib
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter_driver_composite.driver import Composite
from jumpstarter_driver_dutlink import storage as storage_driver
from jumpstarter_driver_dutlink.driver import Dutlink, DutlinkStorageMux
from jumpstarter_driver_storage.client import StorageMuxFlasherClient
from jumpstarter_testing.images import image_in_halves
from jumpstarter_testing.loops import FaultyMedium, faulty_medium, make_loop
from jumpstarter_testing.starting import answers, tolerant
from jumpstarter_testing.usb.dutlink import DutlinkBoard
from jumpstarter_testing.usb.fixtures import Bench
from jumpstarter_testing.usb.storage import MassStorage
from jumpstarter_testing.waiting import until

__all__ = ["faulty_medium", "make_loop"]

MIB = 1 << 20

VAIN = 1
"""Seconds that are waited for what cannot come."""

QUICK: dict[str, Any] = {"off_seconds": 0.1, "storage_leeway": 0}


@contextmanager
def storage(**config: Any) -> Generator[StorageMuxFlasherClient]:
    with serve(DutlinkStorageMux(**(QUICK | config))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        yield client


@pytest.mark.kernel
def test_flashed_image_boots(board: DutlinkBoard, image: Path, tmp_path: Path) -> None:
    packed = tmp_path / "image.gz"
    packed.write_bytes(gzip.compress(image.read_bytes(), 1))
    with serve(Dutlink(**QUICK)) as client:
        dutlink: Any = client
        with dutlink.console.pexpect() as session:
            result = dutlink.storage.flash(packed)
            assert (result.bytes, result.verify) == (2 * MIB, "full")
            assert board.stick is not None
            assert board.stick.path.read_bytes()[: 2 * MIB] == image.read_bytes()
            assert dutlink.storage.state() == "dut"
            dutlink.power.on()
            session.expect(rb"boot: stick ([0-9a-f]+)\r\n", timeout=60)
            first = hashlib.sha256(image.read_bytes()[: 64 * 1024]).hexdigest()
            assert session.match.group(1).decode() == first


def test_the_mux_turns_by_way_of_off(board: DutlinkBoard, image: Path) -> None:
    with storage(off_seconds=0.3) as client:
        assert client.state() == "unknown"
        client.host()
        assert board.history == ["storage off", "storage host"]
        start = time.monotonic()
        client.dut()
        assert time.monotonic() - start >= 0.3
        assert board.history[2:] == ["storage off", "storage dut"]
        client.off()
        client.dut()
        assert board.history[4:] == ["storage off", "storage dut"]
        assert client.state() == "dut"


def test_dump_gives_back_what_was_flashed(board: DutlinkBoard, image: Path, tmp_path: Path) -> None:
    with storage() as client:
        client.flash(image, to_dut=False)
        client.dump(tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes()[: 2 * MIB] == image.read_bytes()


class TestFaults:
    @pytest.mark.kernel
    def test_no_stick(self, board: DutlinkBoard, stick: MassStorage, image: Path) -> None:
        board.stick = None
        with storage(storage_timeout=VAIN) as client:
            with pytest.raises(
                DriverError, match=r"no medium within \d s after the switch to the host.*no disk has app"
            ):
                client.flash(image)
            assert "storage dut" not in board.history
            client.off()
        board.stick = stick
        with storage(storage_timeout=30) as client:
            client.flash(image)
            assert board.mux == "dut"

    @pytest.mark.kernel
    def test_late_storage_is_waited_for(self, board: DutlinkBoard, stick: MassStorage, image: Path) -> None:
        with storage(storage_timeout=30) as client:
            client.flash(image)
            board.stick_delay = 20  # 1 s of ours
            stick.path.write_bytes(bytes(8 * MIB))
            start = time.monotonic()
            client.flash(image)
            assert time.monotonic() - start >= 1
            assert stick.path.read_bytes()[: 2 * MIB] == image.read_bytes()
            assert board.mux == "dut"

    @pytest.mark.kernel
    def test_board_that_is_absent_when_the_exporter_starts(
        self, usb_bench: Bench, stick: MassStorage, image: Path
    ) -> None:
        board = DutlinkBoard(stick=stick, scale=20)
        with tolerant(Composite(children={"bench": Dutlink(**QUICK, storage_timeout=30)})) as client:
            with pytest.raises(DriverError, match="absent: no DUTLink is connected; connect its USB-C plug"):
                client.bench.storage.flash(image)
            usb_bench.plug(board)
            until(lambda: answers(client.bench.storage.state))
            client.bench.storage.flash(image)
            assert board.mux == "dut"
            assert stick.path.read_bytes()[: 2 * MIB] == image.read_bytes()

    @pytest.mark.kernel
    def test_another_disk_is_never_taken(
        self, usb_bench: Bench, board: DutlinkBoard, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage_driver, "LEAVING", VAIN)
        stick, board.stick = board.stick, None
        path = tmp_path / "backup.img"
        path.write_bytes(b"backup" * 1000 + bytes(2 * MIB))
        other = MassStorage(path, serial="BACKUP")
        usb_bench.plug(other, hub=1)
        found = usb_bench.find(other)
        assert found is not None
        [disk] = until(lambda: usb_bench.host.disks(found))
        until(disk.exists)
        before = path.read_bytes()
        with storage(storage_timeout=VAIN) as client, pytest.raises(DriverError, match="no disk has appeared"):
            client.flash(image)
        with (
            storage(storage_timeout=VAIN, storage_device=str(disk)) as client,
            pytest.raises(DriverError, match=r"is still at the host"),
        ):
            client.flash(image)
        board.stick = stick
        with storage(storage_timeout=30) as client:
            client.off()
            client.flash(image)
        assert path.read_bytes() == before

    @pytest.mark.kernel
    def test_mux_that_does_not_turn(self, board: DutlinkBoard, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with storage(storage_timeout=30) as client:
            client.flash(image)
            client.flash(image, to_dut=False)
            board.is_stuck = True
            monkeypatch.setattr(storage_driver, "LEAVING", VAIN)
            with pytest.raises(DriverError, match=r"switched off, and .* is still at the host"):
                client.dut()
            assert client.state() == "unknown"
            board.is_stuck = False
            monkeypatch.undo()
            client.dut()
            assert (client.state(), board.mux) == ("dut", "dut")

    @pytest.mark.parametrize(
        ("rule", "says"),
        [
            ({"device_serial": "4711"}, r"has the serial number \S+, not 4711; plug in the right device"),
            ({"max_size_bytes": MIB}, r"has 8\.0 MiB, more than max_size_bytes allows"),
        ],
        ids=["serial", "size"],
    )
    def test_wrong_stick_is_not_written(
        self, usb_bench: Bench, image: Path, request: pytest.FixtureRequest, rule: dict[str, Any], says: str
    ) -> None:
        stick: MassStorage = request.getfixturevalue("stick")
        if not usb_bench.is_real:  # rules are for block devices
            stick.path = request.getfixturevalue("make_loop")(8 * MIB)
        usb_bench.plug(DutlinkBoard(stick=stick, scale=20))
        with storage(storage_timeout=30, **rule) as client, pytest.raises(DriverError, match=says):
            client.flash(image)
        assert stick.path.read_bytes() == bytes(8 * MIB)

    def test_two_boards_need_to_know_their_disks(self, usb_bench: Bench, board: DutlinkBoard, image: Path) -> None:
        usb_bench.plug(DutlinkBoard("00000002"))
        with (
            storage(serial="c415a913") as client,
            pytest.raises(DriverError, match=r"2 DUTLinks are connected.*set storage_device"),
        ):
            client.flash(image)
        assert "storage host" not in board.history

    def test_board_unplugged_while_the_storage_is_at_the_host(self, usb_bench: Bench, board: DutlinkBoard) -> None:
        with storage() as client:
            client.host()
            usb_bench.unplug(board)
            with pytest.raises(DriverError, match="no DUTLink with serial"):
                client.dut()
            usb_bench.plug(board)
            assert client.state() == "off"
            client.dut()
            assert board.mux == "dut"

    def test_unplugged_in_the_middle_of_a_flash(
        self, usb_bench: Bench, board: DutlinkBoard, image: Path, tmp_path: Path
    ) -> None:
        """With a disk that is known by its place alone; lab/test_storage_faults.py has one with a link."""
        stick = board.stick
        assert stick is not None

        def pull() -> None:
            until(lambda: stick.written or stick.path.stat().st_size != 8 * MIB, "nothing is written")
            usb_bench.unplug(stick)
            usb_bench.unplug(board)

        with storage(storage_timeout=30) as client:
            with image_in_halves(tmp_path / "fifo", os.urandom(3 * MIB), pull) as fifo, pytest.raises(DriverError) as e:
                client.flash(fifo)
            assert "removed" in str(e.value) or "at byte" in str(e.value) or "flush" in str(e.value)
            usb_bench.plug(board)
            with pytest.raises(DriverError, match="the medium is incomplete"):
                client.dut()
            assert "storage dut" not in board.history
            client.flash(image)
            assert board.mux == "dut"
            assert stick.path.read_bytes()[: 2 * MIB] == image.read_bytes()

    def test_faulty_sticks_are_named(self, usb_bench: Bench, faulty_medium: FaultyMedium, image: Path) -> None:
        if usb_bench.is_real:
            pytest.skip("the lab has its own, in lab/test_storage_faults.py")
        board = DutlinkBoard(stick=MassStorage(faulty_medium.path), scale=20)
        usb_bench.plug(board)
        image.write_bytes(os.urandom(9 * MIB))
        with storage() as client:
            with pytest.raises(DriverError, match=faulty_medium.says):
                client.flash(image)
            assert board.mux == "host"
            if faulty_medium.is_touched:
                with pytest.raises(DriverError, match="the medium is incomplete"):
                    client.dut()
                assert "storage dut" not in board.history
