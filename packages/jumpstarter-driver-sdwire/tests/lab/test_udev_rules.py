"""The rules that `jmp driver udev` prints, in the udev of the lab: what the exporter's group may do then."""

import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter_testing.usb.device import EmulatedDevice
from jumpstarter_testing.usb.dutlink import DutlinkBoard, DutlinkBootloader
from jumpstarter_testing.usb.hub import EmulatedHub
from jumpstarter_testing.usb.sdwire import FactorySdWireBoard, SdWire3, SdWireBoard
from jumpstarter_testing.usb.storage import MassStorage
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

RULES = Path("/etc/udev/rules.d/70-jumpstarter.rules")
GROUPS = Path("/etc/group")
MEMBERS, NOBODY = 4711, 65534
"""Groups, by number: the exporter's, and that of somebody else."""

DAEMON = "/lib/systemd/systemd-udevd"


def restart_udev(*options: str) -> None:
    subprocess.run(["udevadm", "control", "--exit"], check=True)
    subprocess.run([DAEMON, "--daemon", *options], check=True)


@pytest.fixture(scope="module")
def rules() -> Generator[str]:
    """The printed rules, in use."""
    jmp = Path(sys.executable).with_name("jmp")
    printed = subprocess.run([jmp, "driver", "udev"], stdout=subprocess.PIPE, check=True, timeout=100).stdout.decode()
    groups = GROUPS.read_text()
    GROUPS.write_text(f"{groups}jumpstarter:x:{MEMBERS}:\n")
    RULES.write_text(printed)
    restart_udev()
    yield printed
    RULES.unlink()
    GROUPS.write_text(groups)
    restart_udev("--resolve-names=never")


def may_write(path: Path, group: int) -> bool:
    """Whether a user of no rights but those of a group may."""
    return not subprocess.run(["test", "-w", path], user=NOBODY, group=group, extra_groups=[], check=False).returncode


def is_for_members(path: Path) -> bool:
    return may_write(path, MEMBERS) and not may_write(path, NOBODY)


def set_by_member(path: Path, value: str) -> None:
    subprocess.run(["sh", "-c", f"echo {value} > {path}"], user=NOBODY, group=MEMBERS, extra_groups=[], check=True)


def properties(path: Path) -> list[str]:
    """What udev knows of a node."""
    asked = ["udevadm", "info", "--query", "property", "--name", path]
    return subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout.decode().split()


def complaints(rules: str) -> list[str]:
    """What udev has against lines of the file."""
    RULES.write_text(rules)
    test = subprocess.run(["udevadm", "test", "/class/mem/null"], capture_output=True, check=True)
    return re.findall(rf"{re.escape(str(RULES))}:\d+.*", (test.stdout + test.stderr).decode())


def test_every_line_is_understood(rules: str) -> None:
    every = rules.replace("\n#SUBSYSTEM", "\nSUBSYSTEM")  # those to be adapted, too
    assert every.count("\nSUBSYSTEM") > rules.count("\nSUBSYSTEM") > 5
    try:
        assert complaints(every) == []
        assert len(complaints(f"{every}SUBSYSTEM==usb, GROOP='x'\n")) >= 1
    finally:
        RULES.write_text(rules)


@pytest.mark.usefixtures("rules")
def test_members_of_the_group_may_use_the_boards(usb_bench: KernelBench, tmp_path: Path) -> None:
    host, path = usb_bench.host, tmp_path / "card"
    path.write_bytes(bytes(1 << 20))

    def plugged(device: EmulatedDevice, hub: int) -> Path:
        usb_bench.plug(device, hub)
        found = usb_bench.find(device)
        assert found is not None
        return found.path

    def node(device: EmulatedDevice) -> Path:
        found = usb_bench.find(device)
        assert found is not None
        return host.node(found)

    dutlink, bootloader, third = DutlinkBoard(), DutlinkBootloader("0000000b"), SdWire3(path)
    first, hub = SdWireBoard(card=path), EmulatedHub(2)
    phone, cable, stick = SdWireBoard("S10", card=path), FactorySdWireBoard("CABLE", card=path), MassStorage(path)
    phone.name = "Galaxy"
    first.reader.is_present = True
    places = {
        one: plugged(one, number)
        for number, some in enumerate(
            [[dutlink, bootloader], [first.reader, first], [third], [hub], [phone, cable, stick]]
        )
        for one in some
    }
    for one in (dutlink, bootloader, first, first.reader, third, hub):
        until(lambda one=one: is_for_members(node(one)), f"the node of {one.name} is given to the group")
    for one in (phone, cable, stick):
        assert not may_write(node(one), MEMBERS), one.name
    [tty] = until(lambda: host.ttys(found) if (found := usb_bench.find(dutlink)) else [])
    until(lambda: is_for_members(tty), "the port is given to the group")
    assert "ID_MM_DEVICE_IGNORE=1" in properties(tty)
    for one in (first.reader, third):
        [disk] = until(lambda one=one: host.disks(found) if (found := usb_bench.find(one)) else [])
        until(lambda disk=disk: is_for_members(disk), "the card is given to the group")
        assert "UDISKS_IGNORE=1" in properties(disk)
    for one in (first.reader, third, hub):
        file = places[one] / "authorized"
        until(lambda file=file: is_for_members(file), f"{file} is given to the group")
    assert not may_write(places[stick] / "authorized", MEMBERS)
    use_files(places[first.reader] / "authorized", places[hub], hub)


def use_files(authorized: Path, folder: Path, hub: EmulatedHub) -> None:
    """Restart a device, and cut the supply of a port, as a member of the group."""
    for value in ("0", "1"):
        set_by_member(authorized, value)
        assert authorized.read_text().strip() == value
    files = sorted(folder.glob(f"{folder.name}:1.0/{folder.name}-port*/disable"))
    assert len(files) == 2
    for file in files:
        until(lambda file=file: is_for_members(file), f"{file} is given to the group")
    set_by_member(files[1], "1")
    assert hub.powered == {1}
    set_by_member(files[1], "0")
    assert hub.powered == {1, 2}
