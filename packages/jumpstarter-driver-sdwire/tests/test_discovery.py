"""SDWire boards in `jmp discover`, on the emulated bus."""

from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.usb import use_host
from jumpstarter_driver_sdwire.discovery import discover
from jumpstarter_testing.usb.bench import FakeBench
from jumpstarter_testing.usb.sdwire import FactorySdWireBoard, SdWire3, SdWireBoard


@pytest.fixture
def bench() -> Generator[FakeBench]:
    with FakeBench() as bench, use_host(bench.host):
        yield bench


def test_each_generation_is_told_by_what_stays(bench: FakeBench, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(bytes(1 << 20))
    for hub, board in enumerate((SdWireBoard("one", card=card), FactorySdWireBoard("DK0001", card=card))):
        bench.plug(board.reader, hub)
        bench.plug(board, hub)
    bench.plug(FactorySdWireBoard("CABLE", card=card), 2)  # without a reader beside it, it is any cable
    bench.plug(SdWire3(card), 3)
    found = list(discover())
    assert [dict(one.config) for one in found] == [{"serial": "one"}, {"serial": "DK0001"}, {"port": "1-4.1"}]
    assert found[0].warnings == ()
    assert "never provisioned" in found[1].warnings[0]
    assert "share their serial" in found[2].warnings[0]
