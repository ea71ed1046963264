"""GPIO chips in `jmp discover`."""

from collections.abc import Generator

import pytest
from jumpstarter.common.utils import serve
from jumpstarter.usb import use_host
from jumpstarter_driver_gpio.discovery import discover
from jumpstarter_driver_gpio.driver import DigitalPort
from jumpstarter_testing.gpio import FakeGpioChip
from jumpstarter_testing.usb.bench import FakeBench


@pytest.fixture
def bench() -> Generator[FakeBench]:
    with FakeBench() as bench, use_host(bench.host):
        yield bench


def test_free_lines_are_offered_by_name(bench: FakeBench) -> None:
    path = bench.root / "dev/gpiochip3"
    with FakeGpioChip(path, label="expander", lines=5, names={0: "POWER", 1: "BUTTON", 2: "NC", 3: "NC"}):
        with serve(DigitalPort(device=str(path), lines=["POWER"])):
            [one] = discover()
        with serve(DigitalPort(device=str(path), lines=[0, 1, 2, 3, 4])):
            assert list(discover()) == []
        assert one.title == f"GPIO chip expander ({path}), 5 lines"
        assert dict(one.config) == {"device": "expander", "lines": ["BUTTON", 2, 3, 4]}
        assert "one that has another function loses it" in one.warnings[0]
        assert one.warnings[1] == "in use: 0 POWER by 'jumpstarter'"
        # chips are looked for by label in /dev
        with serve(DigitalPort(device=str(path), lines=one.config["lines"])) as client:
            assert client.call("read") == [0, 0, 0, 0]


def test_chips_of_one_label_are_told_by_path(bench: FakeBench) -> None:
    one, two = bench.root / "dev/gpiochip1", bench.root / "dev/gpiochip2"
    with FakeGpioChip(one, label="same", lines=1), FakeGpioChip(two, label="same", lines=70):
        found = list(discover())
    assert [each.config["device"] for each in found] == [str(one), str(two)]
    assert "2 chips have the label 'same'" in found[0].warnings[-1]
    assert len(found[1].config["lines"]) == 64
    assert any("70 lines are free, and a port has 64" in warning for warning in found[1].warnings)


def test_a_chip_that_cannot_be_read_is_told(bench: FakeBench) -> None:
    (bench.root / "dev/gpiochip4").write_bytes(b"")
    [one] = discover()
    assert "its lines are not known: " in one.warnings[0]
