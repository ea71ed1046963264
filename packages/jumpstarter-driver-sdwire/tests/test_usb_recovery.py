"""Cards that move with the supply of a USB port, and readers that hang: on an emulated bus, and in the lab."""

import os
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter_driver_sdwire import driver, recovery
from jumpstarter_testing.images import image_in_halves
from jumpstarter_testing.loops import MakeLoop, make_loop, tmpfs
from jumpstarter_testing.usb.bench import FakeBench
from jumpstarter_testing.usb.fixtures import Bench
from jumpstarter_testing.usb.hub import EmulatedHub
from jumpstarter_testing.usb.sdwire import SdWire3, SdWireBoard
from jumpstarter_testing.usb.storage import MassStorage
from jumpstarter_testing.waiting import until
from sdwires import MIB, card, refused, sdwire

__all__ = ["make_loop"]


@pytest.fixture
def bench(usb_bench: Bench) -> Bench:
    usb_bench.watch_supplies()
    return usb_bench


@pytest.fixture(params=["files", "requests"])
def fake(request: pytest.FixtureRequest, usb_bench: Bench) -> FakeBench:
    """The emulated bus of a kernel that switches ports, and of one before 6.0, which lets the hub do it."""
    if not isinstance(usb_bench, FakeBench):
        pytest.skip("the lab's kernel is what it is; lab/test_hub_power.py asks a hub")
    if request.param == "files":
        usb_bench.let_kernel_switch_ports()
    return usb_bench


def port_of(bench: Bench, device: MassStorage | SdWireBoard) -> str:
    found = bench.find(device)
    assert found is not None
    return found.port


def hub_of(bench: FakeBench, number: int = 0) -> EmulatedHub:
    return bench.hubs[number]


def third(bench: Bench, tmp_path: Path) -> tuple[SdWire3, str]:
    """A board that no detached driver moves, and its port."""
    board = SdWire3(card(tmp_path))
    board.follows_supply = True
    bench.plug(board)
    return board, port_of(bench, board)


def first(bench: Bench, tmp_path: Path) -> SdWireBoard:
    board = SdWireBoard(card=card(tmp_path))
    bench.plug(board.reader, 1)
    bench.plug(board, 1)
    return board


class TestPortPower:
    @pytest.mark.kernel
    def test_card_moves_with_the_supply(self, bench: Bench, image: Path, tmp_path: Path) -> None:
        board, port = third(bench, tmp_path)
        with sdwire(port=port, port_power=True) as client:
            assert client.state() == "host"
            client.flash(image)
            assert client.state() == "dut"
            until(lambda: board.side == "dut")
            assert bench.find(board) is None
            assert board.path.read_bytes()[:MIB] == image.read_bytes()
        with sdwire(port=port, port_power=True) as client:  # invisible, and known by its port
            assert client.state() == "dut"
            client.host()
            assert client.state() == "host"
            until(lambda: board.side == "host")
            client.dump(tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes()[:MIB] == image.read_bytes()
            assert client.state() == "dut"

    def test_either_way_of_switching(self, fake: FakeBench, image: Path, tmp_path: Path) -> None:
        board, port = third(fake, tmp_path)
        hub_of(fake).resistance = 3  # as kernels switch on again
        neighbour = MassStorage(card(tmp_path, "neighbour"))
        fake.plug(neighbour)
        with sdwire(port=port, port_power=True) as client:
            client.flash(image)
            assert (client.state(), board.side) == ("dut", "dut")
            client.host()
            assert (client.state(), board.side) == ("host", "host")
        assert fake.find(neighbour) is not None
        assert neighbour.requests == []

    def test_the_other_way_does_not_move_it(self, usb_bench: Bench, tmp_path: Path) -> None:
        if usb_bench.is_real:
            pytest.skip("nothing more to see on a kernel")
        board, port = third(usb_bench, tmp_path)
        with sdwire(port=port) as client:
            client.dut()
            assert board.side == "host"

    def test_port_has_to_be_named(self) -> None:
        refused("port_power needs port", port_power=True)

    def test_hubs_that_cannot(self, fake: FakeBench, tmp_path: Path) -> None:
        board, port = third(fake, tmp_path)
        hub_of(fake).switching = "together"
        refused(r"1-1\.1: its hub \[.*0424:2640.*only all its ports together; plug", port=port, port_power=True)
        hub_of(fake).switching = "none"
        refused("none of its ports", port=port, port_power=True)
        assert board.side == "host"

    def test_hub_that_only_says_that_it_can(
        self, fake: FakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recovery, "LEAVING", 0.3)
        _, port = third(fake, tmp_path)
        hub_of(fake).is_honest = False
        with sdwire(port=port, port_power=True) as client:
            with pytest.raises(DriverError, match=r"its supply was cut, and \[.*0bda:0316.*\] is still there"):
                client.dut()
            assert client.state() == "host"

    def test_nothing_else_loses_its_supply(self, fake: FakeBench, tmp_path: Path) -> None:
        other = MassStorage(card(tmp_path))
        fake.plug(other)
        port = port_of(fake, other)
        refused("no SDWire with port 1-1.1 is connected", port=port, port_power=True)
        fake.unplug(other)
        with sdwire(port=port, port_power=True) as client:
            fake.plug(other)
            with pytest.raises(DriverError, match=r"no SDWire with port 1-1\.1"):
                client.dut()
            assert fake.find(other) is not None

    def test_no_permission(self, fake: FakeBench, tmp_path: Path) -> None:
        _, port = third(fake, tmp_path)
        fake.backend.denied.add(hub_of(fake))
        refused(r"no permission for .*bus/usb/001/002; .*ATTR\{idVendor\}==\"0424\"", port=port, port_power=True)

    def test_reader_that_hangs_is_told(self, fake: FakeBench, tmp_path: Path) -> None:
        board, port = third(fake, tmp_path)
        with sdwire(port=port, port_power=True) as client:
            fake.hang(board)
            assert client.state() == "host"
            with pytest.raises(DriverError, match=r"1-1\.1 has its supply, and no card reader answers there; recover"):
                client.host()
            assert "was cut for 0.2 s" in client.call("recover")
            client.host()
            assert fake.find(board) is not None


class TestRecovery:
    @pytest.mark.kernel
    @pytest.mark.parametrize("generation", [1, 3])
    def test_reader_that_leaves_in_the_middle_of_a_flash(
        self, bench: Bench, tmp_path: Path, generation: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        if not bench.is_real:
            pytest.skip("files do not fail; TestLostDisk has disks that do")
        if generation == 1:
            reader: MassStorage = (board := first(bench, tmp_path)).reader
        else:
            reader = board = SdWire3(card(tmp_path))
            bench.plug(reader)
        content = os.urandom(3 * MIB)

        def hang() -> None:
            until(lambda: reader.written, "nothing is written")
            bench.hang(reader)

        with sdwire() as client:
            with image_in_halves(tmp_path / "fifo", content, hang) as fifo:
                result = client.flash(fifo)
            assert result is not None
            assert (result.bytes, result.verify, result.recoveries) == (3 * MIB, "full", 1)
        assert reader.path.read_bytes()[: 3 * MIB] == content
        until(lambda: board.side == "dut")
        assert "the card reader left the bus at byte" in caplog.text
        assert "recovering (1 of 3)" in caplog.text

    def test_a_hub_cuts_the_supply_of_a_reader(self, fake: FakeBench, image: Path, tmp_path: Path) -> None:
        board = first(fake, tmp_path)
        with sdwire(storage_timeout=0.5) as client:
            client.host()
            fake.hang(board.reader)
            with pytest.raises(DriverError, match="its card reader is not there"):
                client.dump(tmp_path / "copy")
            assert client.call("recover") == "the supply of USB port 1-2.1 was cut for 0.2 s"
            client.flash(image)
        assert board.reader.path.read_bytes()[:MIB] == image.read_bytes()

    def test_the_kernel_starts_it_anew(self, fake: FakeBench, image: Path, tmp_path: Path) -> None:
        board = first(fake, tmp_path)
        hub_of(fake, 1).switching = "none"
        with sdwire() as client:
            client.host()
            [state] = (fake.root / "sys/devices").glob("usb1/1-2/1-2.1/*/*/*/*/state")
            state.write_text("offline\n")
            assert "0424:4050, serial 000000264001, port 1-2.1] was started anew" in client.call("recover")
            [state] = (fake.root / "sys/devices").glob("usb1/1-2/1-2.1/*/*/*/*/state")
            assert state.read_text() == "running\n"
            fake.hang(board.reader)
            assert "the board's hub [USB 2.0 Hub 0424:2640" in client.call("recover")
            client.flash(image)
        assert board.side == "dut"

    def test_what_cannot_be_brought_back(
        self, fake: FakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recovery, "APPEARING", 0.3)
        board = SdWire3(card(tmp_path))
        fake.plug(board)
        with sdwire() as client:
            fake.unplug(board)
            with pytest.raises(DriverError, match=r"1-1\.1 has its supply, and no card reader has appeared there"):
                client.call("recover")
            hub_of(fake).switching = "none"
            with pytest.raises(DriverError, match=r"nothing can restart it: .*none of its ports; plug the board in"):
                client.call("recover")

    def test_a_card_at_the_dut_is_left_there(self, fake: FakeBench, tmp_path: Path) -> None:
        board = first(fake, tmp_path)
        with sdwire() as client:
            client.dut()
            with pytest.raises(DriverError, match="the card is with the DUT"):
                client.call("recover")
        assert board.side == "dut"


class TestLostDisk:
    """Block devices of the kernel that fail in the middle, behind an emulated reader that leaves then."""

    @pytest.fixture
    def full(self, usb_bench: Bench, tmp_path: Path, make_loop: MakeLoop) -> Generator["FullCard"]:
        if not isinstance(usb_bench, FakeBench):
            pytest.skip("the lab has disks of its own")
        fake, folder = usb_bench, tmp_path / "small"
        with tmpfs(folder, "4m"):
            card = FullCard(fake, folder, make_loop(32 * MIB, folder=folder))
            yield card
            card.stop()

    def test_flash_goes_on(self, full: "FullCard", caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
        content = os.urandom(24 * MIB)
        with sdwire() as client:
            with image_in_halves(tmp_path / "fifo", content, full.hang) as fifo:
                result = client.flash(fifo, verify="sampled")
            assert result is not None
            assert (result.bytes, result.verify, result.recoveries) == (24 * MIB, "full", 1)
            assert client.state() == "dut"
        assert full.device.read_bytes()[: 24 * MIB] == content
        assert "recovering (1 of 3)" in caplog.text
        assert "the supply of USB port 1-2.1 was cut" in caplog.text

    def test_not_without_reading_back(self, full: "FullCard", tmp_path: Path) -> None:
        with sdwire() as client:
            with (
                image_in_halves(tmp_path / "fifo", os.urandom(24 * MIB), full.hang) as fifo,
                pytest.raises(DriverError, match=r"write /dev/loop\d+ at byte"),
            ):
                client.flash(fifo, verify="off")
            assert 1 in full.hub.powered
            with pytest.raises(DriverError, match="the medium is incomplete"):
                client.dut()

    def test_three_times_at_most(self, full: "FullCard", caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
        full.grows = 0
        with sdwire() as client:
            with (
                image_in_halves(tmp_path / "fifo", os.urandom(24 * MIB), full.hang) as fifo,
                pytest.raises(DriverError, match=r"write /dev/loop\d+ at byte"),
            ):
                client.flash(fifo)
            assert "recovering (3 of 3)" in caplog.text
            with pytest.raises(DriverError, match="the medium is incomplete"):
                client.dut()
        assert full.board.side == "host"

    def test_another_card_is_not_gone_on_with(self, full: "FullCard", make_loop: MakeLoop, tmp_path: Path) -> None:
        full.board.reader.path, full.grows = full.device, 0
        other = make_loop(8 * MIB)
        full.instead = other
        with (
            sdwire() as client,
            image_in_halves(tmp_path / "fifo", os.urandom(24 * MIB), full.hang) as fifo,
            pytest.raises(DriverError, match="the medium that came back has 8388608 bytes, and the one before had"),
        ):
            client.flash(fifo)
        assert other.read_bytes() == bytes(8 * MIB)

    def test_a_bad_block_is_no_lost_reader(
        self, full: "FullCard", image: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(driver, "NOTICING", 0.3)
        image.write_bytes(os.urandom(24 * MIB))
        with sdwire() as client, pytest.raises(DriverError, match=r"write /dev/loop\d+ at byte"):
            client.flash(image)
        assert full.moves == []

    def test_a_reader_that_stays_away(self, full: "FullCard", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recovery, "APPEARING", 0.3)
        reader = full.board.reader

        def pull() -> None:
            full.wait()
            full.bench.unplug(reader)

        with (
            sdwire() as client,
            image_in_halves(tmp_path / "fifo", os.urandom(24 * MIB), pull) as fifo,
            pytest.raises(DriverError, match=r"left the bus at byte \d+, and could not be brought back: .*1-2\.1"),
        ):
            client.flash(fifo)


class FullCard:
    """A board whose card takes no more after 4 MiB, until its reader starts anew."""

    def __init__(self, bench: FakeBench, folder: Path, device: Path) -> None:
        self.bench, self.device = bench, device
        self.hub = hub_of(bench, 1)
        self.board = SdWireBoard(card=device)
        bench.plug(self.board.reader, 1)
        bench.plug(self.board, 1)
        self.grows = 64
        """MiB that it takes then; 0: no more than before, and it hangs again."""
        self.instead: Path | None = None
        """A card that is put in meanwhile."""
        self.moves: list[bool] = []
        """Each time that a supply came or went."""
        self._hanging: list[threading.Timer] = []
        self._folder, self._moved = folder, self.hub.on_power
        self.hub.on_power = self._supply_moved

    def hang(self) -> None:
        """Once a write has failed, which takes what is left."""
        self.wait()
        self.bench.hang(self.board.reader)

    def wait(self) -> None:
        until(lambda: os.statvfs(self._folder).f_bfree == 0, "the card does not become full")

    def _supply_moved(self, number: int, on: bool) -> None:
        self.moves.append(on)
        if on and self.grows:
            subprocess.run(["mount", "-o", f"remount,size={self.grows}m", self._folder], check=True)
        if on and self.instead is not None:
            self.board.reader.path = self.instead
        assert self._moved is not None
        self._moved(number, on)
        if on and not self.grows and self.instead is None:
            self._hanging.append(timer := threading.Timer(0.5, self.hang))
            timer.start()

    def stop(self) -> None:
        for timer in self._hanging:
            timer.cancel()
            timer.join(30)
