"""Ports of a hub that is QEMU's, not ours, switched by the kernel and by requests; a disk that the kernel gave up."""

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from jumpstarter.usb import HubPort, UsbDevice, UsbHost
from jumpstarter_testing.usb.storage import CardReader
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

MONITOR = Path("/dev/virtio-ports/qmp")
TIMEOUT = 5.0


class Monitor:
    """QEMU's monitor (QMP), from inside of its machine."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.do("qmp_capabilities", may_fail=True)  # of the first that opens the port

    def do(self, command: str, *, may_fail: bool = False, **arguments: Any) -> None:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while "return" not in (answer := json.loads(self._file.readline())):
            if "error" in answer:
                assert may_fail, answer
                return


@pytest.fixture
def monitor() -> Generator[Monitor]:
    subprocess.run(["modprobe", "--all", "virtio_console", "xhci-pci"], check=True)
    until(MONITOR.exists)
    with MONITOR.open("r+b", buffering=0) as file:
        yield Monitor(file)


@pytest.fixture
def port(monitor: Monitor) -> Generator[str]:
    """The port of a keyboard at a hub that switches its ports, and of nothing else."""
    monitor.do("device_add", driver="usb-hub", id="hub", bus="xhci.0", port="1", **{"port-power": True})
    monitor.do("device_add", driver="usb-kbd", id="keys", bus="xhci.0", port="1.2")
    found = until(keyboard)
    assert found is not None
    yield found.port
    for name in ("keys", "hub"):
        monitor.do("device_del", id=name)
    until(lambda: keyboard() is None)


def keyboard() -> UsbDevice | None:
    return next((device for device in UsbHost().devices() if "Keyboard" in device.name), None)


class PortOfOldKernel(HubPort):
    """Without the files that Linux has from 6.0 on."""

    def _file(self, name: str) -> Path:
        return super()._file(f"no-{name}")


@pytest.mark.parametrize("kind", [HubPort, PortOfOldKernel])
def test_supply_comes_and_goes(port: str, kind: type[HubPort]) -> None:
    place = kind(port)
    assert place.why_fixed(TIMEOUT) is None
    assert place.is_powered(TIMEOUT)
    assert place.device() is not None
    place.power(False, TIMEOUT)
    assert not place.is_powered(TIMEOUT)
    until(lambda: place.device() is None)
    place.power(True, TIMEOUT)
    until(place.device)


def test_disk_that_the_kernel_gave_up_is_started_anew(usb_bench: KernelBench, tmp_path: Path) -> None:
    path = tmp_path / "card"
    path.write_bytes(bytes(1 << 20))
    reader, host = CardReader(path), usb_bench.host
    usb_bench.plug(reader)
    found = usb_bench.find(reader)
    assert found is not None
    [disk] = until(lambda: host.disks(found))
    assert not host.is_given_up(disk)
    (Path("/sys/class/block") / disk.name / "device/state").write_text("offline\n")
    assert host.is_given_up(disk)
    host.restart(found)
    until(lambda: (disks := host.disks(found)) and not host.is_given_up(disks[0]))
