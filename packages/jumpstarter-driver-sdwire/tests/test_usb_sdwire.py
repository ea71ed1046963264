"""SDWire boards, over the real wire, on an emulated bus and in the lab on a kernel's."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter_driver_composite.driver import Composite, Proxy
from jumpstarter_driver_power.driver import SyncMockPower
from jumpstarter_driver_sdwire import driver, recovery
from jumpstarter_driver_sdwire.driver import SDWire
from jumpstarter_testing.images import image_in_halves
from jumpstarter_testing.loops import FaultyMedium, faulty_medium, make_loop
from jumpstarter_testing.starting import answers, tolerant
from jumpstarter_testing.usb.device import HangError, Request, StallError
from jumpstarter_testing.usb.fixtures import Bench
from jumpstarter_testing.usb.sdwire import FactorySdWireBoard, SdWire3, SdWireBoard
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until
from sdwires import CARD, MIB, card, refused, sdwire

__all__ = ["faulty_medium", "make_loop"]

VAIN = 1
"""Seconds that are waited for what cannot come."""


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a reader that was pulled."""
    monkeypatch.setattr(recovery, "APPEARING", 2)


def plug(bench: Bench, board: SdWireBoard, hub: int = 1) -> SdWireBoard:
    bench.plug(board.reader, hub)
    bench.plug(board, hub)
    return board


@pytest.fixture
def board(usb_bench: Bench, tmp_path: Path) -> SdWireBoard:
    return plug(usb_bench, SdWireBoard(card=card(tmp_path)))


@pytest.mark.kernel
def test_card_is_flashed_and_handed_over(board: SdWireBoard, image: Path) -> None:
    with sdwire() as client:
        assert client.state() == "dut"
        result = client.flash(image)
        assert result is not None
        assert (result.bytes, result.verify) == (MIB, "full")
        assert (client.state(), board.side) == ("dut", "dut")
        assert board.reader.path.read_bytes()[:MIB] == image.read_bytes()
        client.host()
        assert (client.state(), board.side) == ("host", "host")
        client.dut()
        client.off()  # there is no third side
        assert board.side == "host"


@pytest.mark.kernel
def test_two_boards_keep_their_own_cards(usb_bench: Bench, image: Path, tmp_path: Path) -> None:
    one = plug(usb_bench, SdWireBoard("one", card=card(tmp_path, "one")), hub=1)
    two = plug(usb_bench, SdWireBoard("two", card=card(tmp_path, "two")), hub=2)
    refused(r"2 SDWires fit.*serial one.*serial two.*set serial")
    with sdwire(serial="two") as client:
        client.flash(image)
    assert two.reader.path.read_bytes()[:MIB] == image.read_bytes()
    assert one.reader.path.read_bytes() == bytes(CARD)
    assert not any(request.request == 0x0B for request in one.requests)


def test_factory_ids_need_their_serial(usb_bench: Bench, image: Path, tmp_path: Path) -> None:
    board = plug(usb_bench, FactorySdWireBoard("DK0001", card=card(tmp_path)))
    refused("no SDWire is connected")
    with sdwire(serial="DK0001") as client:
        client.flash(image)
        assert board.reader.path.read_bytes()[:MIB] == image.read_bytes()


@pytest.mark.kernel
def test_third_generation(usb_bench: Bench, image: Path, tmp_path: Path) -> None:
    board = SdWire3(card(tmp_path))
    usb_bench.plug(board)
    found = usb_bench.find(board)
    assert found is not None
    until(lambda: usb_bench.host.disks(found))
    with sdwire() as client:
        assert client.state() == "host"
        client.flash(image)
        assert client.state() == "dut"
        until(lambda: board.side == "dut")
        assert board.path.read_bytes()[:MIB] == image.read_bytes()
        client.host()
        assert client.state() == "host"
        until(lambda: board.side == "host")


def test_two_of_the_third_generation_are_told_apart_by_port(usb_bench: Bench, tmp_path: Path) -> None:
    one, two = SdWire3(card(tmp_path, "one")), SdWire3(card(tmp_path, "two"))
    usb_bench.plug(one)
    usb_bench.plug(two)
    refused(r"2 SDWires fit.*set port")
    found = usb_bench.find(two)
    assert found is not None
    with sdwire(port=found.port) as client:
        client.dut()
        until(lambda: two.side == "dut")
        assert one.side == "host"


def test_power_is_off_while_the_card_moves(board: SdWireBoard) -> None:
    power = SyncMockPower()
    with serve(Composite(children={"power": power, "card": SDWire(children={"power": Proxy(ref="power")})})) as made:
        client: Any = made
        client.power.on()
        client.card.host()
        assert power.is_on is False
        client.power.on()
        client.card.host()  # it is there: nothing moves
        assert power.is_on is True
        client.card.call("dut", force=True)
        assert power.is_on is True
        assert board.side == "dut"


class TestFaults:
    def test_none(self, usb_bench: Bench) -> None:
        refused("no SDWire is connected; check its cable")

    def test_wrong_serial(self, board: SdWireBoard) -> None:
        refused(r"no SDWire with serial 'x' is connected; there is \[sd-wire 04e8:6001, serial sd-wire_01", serial="x")

    def test_another_product_of_the_vendor(self, usb_bench: Bench, tmp_path: Path) -> None:
        phone = SdWireBoard(card=card(tmp_path))
        phone.name = "Galaxy"
        plug(usb_bench, phone)
        refused("no SDWire is connected")

    def test_never_provisioned(self, board: SdWireBoard, image: Path) -> None:
        board.is_provisioned = False
        with sdwire() as client:
            with pytest.raises(DriverError, match=r"its pins still say dut; provision the board"):
                client.flash(image)
            assert board.reader.path.read_bytes() == bytes(CARD)
            board.is_provisioned = True
            client.flash(image)

    @pytest.mark.kernel
    def test_mux_that_does_not_move_the_card(
        self, board: SdWireBoard, image: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with sdwire() as client:
            client.flash(image)
            client.host()
            board.is_stuck = True
            monkeypatch.setattr(driver, "LEAVING", VAIN)
            with pytest.raises(DriverError, match=r"the card was brought to the DUT, and .* is still at the host"):
                client.dut()
            board.is_stuck = False
            client.dut()
            assert board.side == "dut"

    @pytest.mark.kernel
    def test_no_card(self, board: SdWireBoard, image: Path) -> None:
        board.is_stuck = True
        with sdwire(storage_timeout=VAIN) as client, pytest.raises(DriverError, match=r"no medium within \d s"):
            client.flash(image)
        board.is_stuck = False
        with sdwire() as client:
            client.flash(image)
            assert board.side == "dut"

    @pytest.mark.kernel
    def test_reader_is_missing(self, usb_bench: Bench, board: SdWireBoard, image: Path) -> None:
        usb_bench.unplug(board.reader)
        with (
            sdwire(storage_timeout=VAIN) as client,
            pytest.raises(DriverError, match=r"sd-wire_01.*its card reader is not there"),
        ):
            client.flash(image)
        usb_bench.plug(board.reader, 1)
        with sdwire() as client:
            client.flash(image)
            assert board.side == "dut"

    @pytest.mark.kernel
    def test_late_card_is_waited_for(self, board: SdWireBoard, image: Path) -> None:
        with sdwire() as client:
            client.flash(image)
            board.card_delay = 1
            board.reader.path.write_bytes(bytes(CARD))
            start = time.monotonic()
            client.flash(image)
            assert time.monotonic() - start >= 1
            assert board.reader.path.read_bytes()[:MIB] == image.read_bytes()
            until(lambda: board.side == "dut")

    @pytest.mark.kernel
    def test_board_that_is_absent_when_the_exporter_starts(self, usb_bench: Bench, image: Path, tmp_path: Path) -> None:
        board = SdWireBoard(card=card(tmp_path))
        with tolerant(Composite(children={"card": SDWire(storage_leeway=0, storage_timeout=30)})) as made:
            client: Any = made
            with pytest.raises(DriverError, match="absent: no SDWire is connected; check its cable"):
                client.card.flash(image)
            plug(usb_bench, board)
            until(lambda: answers(client.card.state))
            client.card.flash(image)
            assert board.side == "dut"
            assert board.reader.path.read_bytes()[:MIB] == image.read_bytes()

    def test_refused_and_unanswered_requests(self, board: SdWireBoard) -> None:
        with sdwire() as client:
            board.faults.append(StallError())
            with pytest.raises(DriverError, match=r"serial sd-wire_01.*refused the request"):
                client.host()
            assert board.side == "dut"
            board.faults.append(HangError())
            with pytest.raises(DriverError, match="no answer within 5 s"):
                client.host()
            client.host()
            assert board.side == "host"

    def test_unplugged_and_plugged_in_again(self, usb_bench: Bench, board: SdWireBoard, image: Path) -> None:
        with sdwire() as client:
            client.host()
            usb_bench.unplug(board)
            with pytest.raises(DriverError, match=r"no SDWire with serial 'sd-wire_01' is connected"):
                client.state()
            usb_bench.plug(board, 1)
            client.flash(image)
            assert board.side == "dut"

    @pytest.mark.kernel
    @pytest.mark.parametrize("pulled", ["board", "reader", "card"])
    def test_pulled_in_the_middle_of_a_flash(
        self, usb_bench: Bench, board: SdWireBoard, image: Path, tmp_path: Path, pulled: str
    ) -> None:
        reader = board.reader

        def pull() -> None:
            until(lambda: reader.written or reader.path.stat().st_size != CARD, "nothing is written")
            if pulled == "card":
                reader.set_medium(False)
                return
            usb_bench.unplug(reader)
            if pulled == "board":
                usb_bench.unplug(board)

        with sdwire() as client:
            with image_in_halves(tmp_path / "fifo", os.urandom(3 * MIB), pull) as fifo, pytest.raises(DriverError) as e:
                client.flash(fifo)
            assert "removed" in str(e.value) or "at byte" in str(e.value) or "flush" in str(e.value)
            reader.set_medium(True)
            if pulled != "card":
                usb_bench.plug(reader, 1)
            if pulled == "board":
                usb_bench.plug(board, 1)
            with pytest.raises(DriverError, match="the medium is incomplete"):
                client.dut()
            assert board.side == "host"
            client.flash(image)
            assert board.side == "dut"
            assert reader.path.read_bytes()[:MIB] == image.read_bytes()

    @pytest.mark.kernel
    def test_third_generation_pulled_in_the_middle_of_a_flash(
        self, usb_bench: Bench, image: Path, tmp_path: Path
    ) -> None:
        board = SdWire3(card(tmp_path))
        usb_bench.plug(board)

        def pull() -> None:
            until(lambda: board.written or board.path.stat().st_size != CARD, "nothing is written")
            usb_bench.unplug(board)

        with sdwire() as client:
            with image_in_halves(tmp_path / "fifo", os.urandom(3 * MIB), pull) as fifo, pytest.raises(DriverError) as e:
                client.flash(fifo)
            assert "removed" in str(e.value) or "at byte" in str(e.value) or "flush" in str(e.value)
            usb_bench.plug(board)
            until(lambda: usb_bench.find(board))
            with pytest.raises(DriverError, match="the medium is incomplete"):
                client.dut()
            assert board.side == "host"
            client.flash(image)
            assert client.state() == "dut"
            assert board.path.read_bytes()[:MIB] == image.read_bytes()

    @pytest.mark.kernel
    def test_pulled_while_it_switches(self, usb_bench: Bench, board: SdWireBoard, image: Path) -> None:
        pulling: list[threading.Thread] = []

        def pull(request: Request) -> None:
            if request.request != 0x0B:
                return
            board.before = None
            if isinstance(usb_bench, KernelBench):  # the thread that answers cannot pull, and answers no more
                pulling.append(thread := threading.Thread(target=usb_bench.unplug, args=(board,)))
                thread.start()
                raise HangError
            usb_bench.unplug(board)
            raise HangError

        with sdwire() as client:
            board.before = pull
            with pytest.raises(
                DriverError, match=r"serial sd-wire_01.*disconnected; cannot bring the card to the host"
            ):
                client.flash(image)
            for thread in pulling:
                thread.join(20)
            assert (board.side, board.reader.written) == ("dut", 0)
            usb_bench.plug(board, 1)
            client.flash(image)
            assert board.side == "dut"
            assert board.reader.path.read_bytes()[:MIB] == image.read_bytes()

    def test_no_permission(self, usb_bench: Bench, board: SdWireBoard) -> None:
        if isinstance(usb_bench, KernelBench):
            pytest.skip("root may everything")
        usb_bench.backend.denied.add(board)
        with sdwire() as client, pytest.raises(DriverError) as error:
            client.host()
        assert "no permission for" in str(error.value)
        assert 'ATTR{idVendor}=="04e8", ATTR{idProduct}=="6001"' in str(error.value)


def test_faulty_cards_are_named(
    usb_bench: Bench, faulty_medium: FaultyMedium, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if usb_bench.is_real:
        pytest.skip("the lab has its own, in lab/test_card_faults.py")
    monkeypatch.setattr(driver, "NOTICING", 0.3)
    board = plug(usb_bench, SdWireBoard(card=faulty_medium.path))
    image.write_bytes(os.urandom(9 * MIB))
    with sdwire() as client:
        with pytest.raises(DriverError, match=faulty_medium.says):
            client.flash(image)
        assert board.side == "host"
        if faulty_medium.is_touched:
            with pytest.raises(DriverError, match="the medium is incomplete"):
                client.dut()
            assert board.side == "host"
