"""`jmp discover` and `jmp driver udev`, with boards on the emulated bus."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from jumpstarter.cli.jmp import cli
from jumpstarter.config.exporter import ExporterConfigV1Alpha1
from jumpstarter.usb import use_host
from jumpstarter_testing.usb.bench import FakeBench
from jumpstarter_testing.usb.dutlink import DutlinkBoard, DutlinkBootloader


@pytest.fixture
def bench() -> Generator[FakeBench]:
    with FakeBench() as bench, use_host(bench.host):
        yield bench


def run(*arguments: str) -> tuple[str, str]:
    """What a command prints, and what it warns of."""
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_what_is_found_is_a_configuration(bench: FakeBench, tmp_path: Path) -> None:
    bench.plug(DutlinkBoard("00123456"))
    printed, warnings = run("discover")
    assert warnings == ""
    assert "# DUTLink, firmware 0.09, at USB port 1-1.1" in printed
    path = tmp_path / "lab.yaml"
    _, said = run("discover", "--write", str(path))
    assert "1 device" in said
    assert path.read_text() == printed
    assert path.stat().st_mode & 0o777 == 0o600
    entry = ExporterConfigV1Alpha1.load_path(path).export["dutlink"]
    assert (entry.type, entry.config) == ("jumpstarter_driver_dutlink.driver.Dutlink", {"serial": "00123456"})
    again = CliRunner().invoke(cli, ["discover", "--write", str(path)])
    assert "lab.yaml exists; choose another name" in again.stderr


def test_missing_and_duplicate_serials_are_told(bench: FakeBench) -> None:
    for serial in ("0000000a", "0000000a", ""):
        bench.plug(DutlinkBoard(serial))
    printed, warnings = run("discover")
    export = yaml.safe_load(printed)["export"]
    assert [entry["config"] for entry in export.values()] == [
        {"serial": "0000000a", "port": "1-1.1"},
        {"serial": "0000000a", "port": "1-1.2"},
        {"port": "1-1.3"},
    ]
    assert list(export) == ["dutlink", "dutlink2", "dutlink3"]
    assert warnings.count("2 devices have the serial 0000000a") == 2
    assert "dutlink3: it has no serial number" in warnings
    assert "# warning: it has no serial number" in printed


def test_boards_that_cannot_be_used_say_why(bench: FakeBench) -> None:
    bench.plug(DutlinkBootloader("0000000b"))
    bench.plug(DutlinkBoard("0000000c", version=0x0007))
    printed, _ = run("discover", "-o", "json")
    [bootloader, old] = json.loads(printed)
    assert any("DFU mode" in warning for warning in bootloader["warnings"])
    assert any("update it to 0.08" in warning for warning in old["warnings"])


def test_nothing_is_found(bench: FakeBench) -> None:
    printed, warnings = run("discover")
    assert yaml.safe_load(printed)["export"] == {}
    assert "no devices found" in warnings


def test_rules_for_udev_are_printed() -> None:
    printed, _ = run("driver", "udev")
    assert "# jumpstarter_driver_dutlink\n" in printed
    assert 'ATTR{idVendor}=="2b23", ATTR{idProduct}=="1012", GROUP="jumpstarter", MODE="0660"' in printed
    assert "0666" not in printed
