"""`jmp discover` with what a real kernel lists."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from jumpstarter_testing.usb.dutlink import DutlinkBoard
from jumpstarter_testing.usb.sdwire import SdWire3
from jumpstarter_testing.usb.vhci import KernelBench


def test_boards_are_found(usb_bench: KernelBench, board: DutlinkBoard, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(bytes(1 << 20))
    reader = SdWire3(card)
    usb_bench.plug(reader, hub=1)
    found = usb_bench.find(reader)
    assert found is not None
    path = tmp_path / "lab.yaml"
    jmp = Path(sys.executable).with_name("jmp")
    done = subprocess.run(
        [jmp, "discover", "--write", path], env=os.environ, capture_output=True, text=True, timeout=60, check=True
    )
    export = yaml.safe_load(path.read_text())["export"]
    assert export["dutlink"]["config"] == {"serial": board.serial}
    assert export["sdwire"]["config"] == {"port": found.port}
    assert "share their serial" in done.stderr
