"""`jmp discover` with what a real kernel lists."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from jumpstarter_testing.gpiosim import GpioSim
from jumpstarter_testing.usb.dutlink import DutlinkBoard
from jumpstarter_testing.usb.ftdi import FtdiAdapter
from jumpstarter_testing.usb.sdwire import SdWire3
from jumpstarter_testing.usb.storage import MassStorage
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

BY_ID = Path("/dev/serial/by-id/usb-FTDI_FT230X_Basic_UART_FT000001-if00-port0")
STICK = Path("/dev/disk/by-id/usb-SanDisk_3.2_Gen_1_STICK-0:0")


def test_devices_are_found(usb_bench: KernelBench, board: DutlinkBoard, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(bytes(1 << 20))
    reader = SdWire3(card)
    usb_bench.plug(reader, hub=1)
    usb_bench.plug(FtdiAdapter(), hub=2)
    usb_bench.plug(MassStorage(card, "STICK"), hub=3)
    found = usb_bench.find(reader)
    assert found is not None
    until(lambda: BY_ID.exists() and STICK.exists())
    path = tmp_path / "lab.yaml"
    jmp = Path(sys.executable).with_name("jmp")
    with GpioSim(label="relays", lines=4, names={1: "POWER"}, hogs={2: "fan"}):
        done = subprocess.run(
            [jmp, "discover", "--write", path], env=os.environ, capture_output=True, text=True, timeout=60, check=True
        )
    export = yaml.safe_load(path.read_text())["export"]
    assert export["dutlink"]["config"] == {"serial": board.serial}
    assert export["sdwire"]["config"] == {"port": found.port}
    assert "share their serial" in done.stderr
    assert export["serial"]["config"] == {"url": str(BY_ID)}
    assert export["storage"]["config"] == {"path": str(STICK), "device_serial": "STICK", "max_size_bytes": 1 << 20}
    assert export["gpio"]["config"] == {"device": "relays", "lines": [0, "POWER", 3]}
    assert len(export) == 5  # and not the console of the machine, nor its disks
