"""`jmp discover` with all packages of this repository: what several know is offered by who knows it best."""

from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner
from jumpstarter.cli.jmp import cli
from jumpstarter.config.exporter import ExporterConfigV1Alpha1
from jumpstarter.usb import use_host
from jumpstarter_testing.gpio import FakeGpioChip
from jumpstarter_testing.usb.bench import FakeBench
from jumpstarter_testing.usb.dutlink import DutlinkBoard
from jumpstarter_testing.usb.sdwire import SdWireBoard
from jumpstarter_testing.usb.storage import MassStorage

MIB = 1 << 20


@pytest.fixture
def bench() -> Generator[FakeBench]:
    with FakeBench() as bench, use_host(bench.host):
        yield bench


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card"
    path.write_bytes(bytes(MIB))
    return path


def test_each_device_once_and_the_whole_is_a_configuration(bench: FakeBench, card: Path, tmp_path: Path) -> None:
    sdwire, chip = SdWireBoard(card=card), bench.root / "dev/gpiochip0"
    bench.plug(DutlinkBoard("0000000a"))  # has a serial port
    bench.plug(sdwire.reader, 1)  # is a disk, and a part of the SDWire
    bench.plug(sdwire, 1)
    bench.plug(MassStorage(card, "STICK"), 2)
    path = tmp_path / "lab.yaml"
    with FakeGpioChip(chip, label="relays", lines=2):
        done = CliRunner().invoke(cli, ["discover", "--write", str(path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    export = yaml.safe_load(path.read_text())["export"]
    assert list(export) == ["dutlink", "gpio", "sdwire", "storage"]
    assert export["gpio"]["config"] == {"device": "relays", "lines": [0, 1]}
    assert export["storage"]["config"]["device_serial"] == "STICK"
    assert "jmp: warning: storage: see that it is the right one" in done.stderr
    assert len(ExporterConfigV1Alpha1.load_path(path).export) == 4


def test_what_comes_and_goes_is_watched(bench: FakeBench, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board, stick = DutlinkBoard("0000000d"), MassStorage(card, "STICK")
    steps = iter([lambda: bench.plug(board), lambda: bench.plug(stick), lambda: bench.unplug(board)])

    def next_step(_seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr("jumpstarter.cli.discover.time", SimpleNamespace(sleep=next_step))
    done = CliRunner().invoke(cli, ["discover", "--watch"])
    lines = done.stdout.splitlines()
    assert lines[0] == "+ DUTLink, firmware 0.09, at USB port 1-1.1"
    assert "      serial: 0000000d" in lines
    assert any(line.startswith("+ disk of 1.0 MiB (sda), 3.2 Gen 1 0781:5581, serial STICK") for line in lines)
    assert "  # warning: see that it is the right one: flashing overwrites all that is on it" in lines
    assert lines[-1] == "- DUTLink, firmware 0.09, at USB port 1-1.1"
    assert not any("ttyACM" in line for line in lines)
