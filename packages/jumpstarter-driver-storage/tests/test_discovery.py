"""Sticks and card readers in `jmp discover`, on the emulated bus."""

from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.usb import use_host
from jumpstarter_driver_storage.discovery import discover
from jumpstarter_testing.usb.bench import FakeBench
from jumpstarter_testing.usb.storage import MassStorage

MIB = 1 << 20


@pytest.fixture
def bench() -> Generator[FakeBench]:
    with FakeBench() as bench, use_host(bench.host):
        yield bench


def stick(tmp_path: Path, serial: str) -> MassStorage:
    path = tmp_path / f"stick{len(list(tmp_path.iterdir()))}"
    path.write_bytes(bytes(4 * MIB))
    return MassStorage(path, serial)


def test_sticks_are_named_by_what_stays(bench: FakeBench, tmp_path: Path) -> None:
    for serial in ("one", "two", "two", ""):
        bench.plug(stick(tmp_path, serial))
    found = list(discover())
    links = bench.root / "dev/disk"
    assert dict(found[0].config) == {
        "path": f"{links}/by-id/usb-SanDisk_3.2_Gen_1_one-0:0",
        "device_serial": "one",
        "max_size_bytes": 4 * MIB,
    }
    assert [one.config["path"] for one in found[1:]] == [
        f"{links}/by-path/pci-0000:00:14.0-usb-0:1.{port}-0:0" for port in (2, 3, 4)
    ]
    assert found[0].title.startswith("disk of 4.0 MiB (sda), 3.2 Gen 1 0781:5581, serial one")
    assert found[0].warnings == ("see that it is the right one: flashing overwrites all that is on it",)
    assert "2 devices have the serial two" in found[1].warnings[0]
    assert "no serial number" in found[3].warnings[0]
    assert all(one.is_generic for one in found)


def test_a_reader_without_a_card_is_told(bench: FakeBench, tmp_path: Path) -> None:
    reader = stick(tmp_path, "one")
    reader.set_medium(False)
    bench.plug(reader)
    [one] = discover()
    assert one.title.startswith("card reader (sda)")
    assert "there is no medium in it now" in one.warnings
    assert "max_size_bytes" not in one.config


@pytest.mark.parametrize("what", ["fixed", "mounted", "swap", "volume", "unknown"])
def test_what_may_be_the_hosts_own_is_left_out(bench: FakeBench, tmp_path: Path, what: str) -> None:
    bench.plug(stick(tmp_path, "one"))
    block, procfs = bench.root / "sys/class/block/sda", tmp_path / "proc"
    part = block / "sda1"
    part.mkdir()
    (part / "partition").write_text("1\n")
    (part / "dev").write_text("240:1\n")
    (procfs / "self").mkdir(parents=True)
    (procfs / "self/mountinfo").write_text("22 1 0:20 / /proc rw - proc proc rw\n")
    (procfs / "swaps").write_text("Filename Type Size Used Priority\n")
    assert len(list(discover(procfs))) == 1
    match what:
        case "fixed":
            (block / "removable").write_text("0\n")
        case "mounted":
            (procfs / "self/mountinfo").write_text("30 1 240:1 / /mnt rw - ext4 /dev/sda1 rw\n")
        case "swap":
            (procfs / "swaps").write_text("Filename Type Size Used Priority\n/dev/sda1 partition 1 0 -2\n")
        case "volume":
            (part / "holders/dm-0").mkdir(parents=True)
        case _:
            (block / "dev").unlink()
    assert list(discover(procfs)) == []
    if what == "unknown":
        (block / "dev").write_text("240:0\n")
