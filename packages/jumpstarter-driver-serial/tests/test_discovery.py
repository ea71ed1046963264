"""Serial ports in `jmp discover`, on the emulated bus."""

from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.usb import use_host
from jumpstarter_driver_serial.discovery import discover
from jumpstarter_testing.usb.bench import FakeBench
from jumpstarter_testing.usb.dutlink import DutlinkBoard


@pytest.fixture
def bench() -> Generator[FakeBench]:
    with FakeBench() as bench, use_host(bench.host):
        yield bench


def test_ports_are_named_by_what_stays(bench: FakeBench) -> None:
    for serial in ("one", "two", "two", ""):
        bench.plug(DutlinkBoard(serial))
    found = list(discover())
    links = bench.root / "dev/serial"
    assert [one.config["url"] for one in found] == [
        f"{links}/by-id/usb-Red_Hat_Inc._Dutlink_one-if00",
        *(f"{links}/by-path/pci-0000:00:14.0-usb-0:1.{port}-if00" for port in (2, 3, 4)),
    ]
    assert all(Path(one.config["url"]).exists() for one in found)
    assert found[0].title == "serial port ttyACM0 of Dutlink 2b23:1012, serial one, port 1-1.1"
    assert found[0].warnings == ()
    assert "2 devices have the serial two" in found[1].warnings[0]
    assert "no serial number" in found[3].warnings[0]
    assert all(one.is_generic for one in found)  # who knows the device better offers it


def test_without_links_the_name_is_no_good(bench: FakeBench) -> None:
    bench.plug(DutlinkBoard("one"))
    for link in (bench.root / "dev/serial").glob("*/*"):
        link.unlink()
    [one] = discover()
    assert one.config == {"url": f"{bench.root}/dev/ttyACM0"}
    assert "no stable link" in one.warnings[0]


def test_ports_that_are_built_in(bench: FakeBench) -> None:
    ttys = bench.root / "sys/class/tty"
    for name, kind in (("ttyS0", "4"), ("ttyS1", "0"), ("ttyS2", "4"), ("tty0", None)):
        (ttys / name).mkdir()
        if kind is not None:
            (ttys / name / "device").mkdir()
            (ttys / name / "type").write_text(f"{kind}\n")
    (ttys / "console").mkdir()
    (ttys / "console/active").write_text("tty0 ttyS2\n")
    [one] = discover()  # of the others, one has no hardware, and one is the host's own console
    assert (one.title, one.config) == ("serial port ttyS0, built in", {"url": f"{bench.root}/dev/ttyS0"})


def test_nothing_there(bench: FakeBench) -> None:
    assert list(discover()) == []
