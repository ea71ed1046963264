"""Lines of a chip in this process, over a real socket; tests/lab has the same with a real kernel."""

import threading
import time
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jumpstarter.client import DriverClient
from jumpstarter.client.core import DriverInvalidArgument
from jumpstarter.common.exceptions import BusyError, ConfigurationError, DeviceAbsentError
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver
from jumpstarter_driver_gpio.client import DigitalInputClient, DigitalOutputClient
from jumpstarter_driver_gpio.driver import DigitalInput, DigitalOutput, DigitalPort, PowerSwitch
from jumpstarter_driver_gpio.edges import PinState
from jumpstarter_testing.gpio import FakeGpioChip

PATIENCE = 15.0


@pytest.fixture
def chip(tmp_path: Path) -> Generator[FakeGpioChip]:
    with FakeGpioChip(tmp_path / "gpiochip9", names={0: "POWER", 1: "BUTTON"}) as chip:
        yield chip


def raises(driver: Driver, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match), serve(driver):
        pass


def j(client: DriverClient, *arguments: str) -> str:
    result = CliRunner().invoke(client.cli(), arguments, standalone_mode=False)  # pyright: ignore
    assert result.exception is None, result.exception
    return result.stdout


def test_an_output_is_driven_and_read(chip: FakeGpioChip) -> None:
    with serve(DigitalOutput(device=chip.path, line="POWER")) as client:
        assert isinstance(client, DigitalOutputClient)
        client.on()
        assert (chip.value(0), client.read(), chip.value(0)) == (1, PinState.ACTIVE, 1)
        client.off()
        assert (chip.value(0), client.read()) == (0, PinState.INACTIVE)
        assert j(client, "on") == ""
        assert j(client, "read") == "active\n"
        assert j(client, "restore") == ""
        assert j(client, "read") == "inactive\n"
        assert j(client, "pulse", "0.01").endswith(" s\n")


@pytest.mark.parametrize("value", ["active", "on", True])
def test_it_has_its_initial_level_from_the_first_moment(chip: FakeGpioChip, value: str | bool) -> None:
    with serve(DigitalOutput(device=chip.path, line=2, initial_value=value)):
        assert chip.value(2) == 1
    with serve(DigitalOutput(device=chip.path, line=2, initial_value=value, active_low=True)):
        assert chip.value(2) == 0


def test_a_pulse_is_timed_by_the_exporter(chip: FakeGpioChip) -> None:
    with serve(DigitalOutput(device=chip.path, line=2)) as client:
        assert isinstance(client, DigitalOutputClient)
        widths = [client.pulse(0.02) for _ in range(5)]
        assert min(widths) >= 0.0199
        assert chip.value(2) == 0
        with pytest.raises(DriverInvalidArgument, match="at most 3600 seconds"):
            client.pulse(0)


def test_a_pulse_ends_when_nobody_waits_for_it(chip: FakeGpioChip) -> None:
    with serve(DigitalOutput(device=chip.path, line=2)) as client:
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            client.call("pulse", 3600.0, timeout=0.2)
        while chip.value(2):
            assert time.monotonic() < begin + PATIENCE
            time.sleep(0.01)


@pytest.mark.parametrize(("on_release", "level"), [(None, 0), ("on", 1), (True, 1), ("off", 0), ("leave", 1)])
def test_between_sessions_it_has_a_defined_level(chip: FakeGpioChip, on_release: str | bool | None, level: int) -> None:
    driver = DigitalOutput(device=chip.path, line=3, on_release=on_release)
    driver.reset()
    driver.on()
    driver.release()
    assert chip.value(3) == level
    driver.close()


def test_a_supply_is_off_between_sessions_and_cannot_measure(chip: FakeGpioChip) -> None:
    driver = PowerSwitch(device=chip.path, line=0)
    with serve(driver) as client:
        client.call("on")
        assert chip.value(0) == 1
        with pytest.raises(NotImplementedError, match="cannot measure"):
            next(client.streamingcall("read"))
        driver.release()
        assert chip.value(0) == 0


def test_an_input_is_read_and_waited_for(chip: FakeGpioChip) -> None:
    with serve(DigitalInput(device=chip.path, line="BUTTON")) as client:
        assert isinstance(client, DigitalInputClient)
        assert client.read() == PinState.INACTIVE
        client.wait_for_inactive(0)
        with pytest.raises(TimeoutError, match=r"line BUTTON of GPIO chip .*: not active within 0\.1 s"):
            client.wait_for_active(0.1)
        timer = threading.Timer(0.2, chip.pull, (1, True))
        timer.start()
        edge = client.wait_for_edge("rising", PATIENCE)
        assert (edge.edge, edge.line, edge.seqno) == ("rising", 1, 1)
        client.wait_for_active()
        timer.join()
        assert j(client, "read") == "active\n"
        assert j(client, "wait-for-active", "-t", "1") == ""
        with pytest.raises(DriverInvalidArgument, match="rising or falling"):
            client.wait_for_edge("up")


def test_active_low_turns_levels_and_edges(chip: FakeGpioChip) -> None:
    with serve(DigitalInput(device=chip.path, line=1, active_low=True)) as client:
        assert isinstance(client, DigitalInputClient)
        assert client.read() == PinState.ACTIVE
        timer = threading.Timer(0.2, chip.pull, (1, True))
        timer.start()
        assert client.wait_for_edge("falling", PATIENCE).edge == "falling"
        timer.join()


def test_every_edge_is_there_in_order(chip: FakeGpioChip) -> None:
    with serve(DigitalInput(device=chip.path, line=1)) as client:
        assert isinstance(client, DigitalInputClient)

        def toggle() -> None:
            time.sleep(0.2)
            for number in range(500):
                chip.pull(1, number % 2 == 0)

        thread = threading.Thread(target=toggle)
        thread.start()
        with closing(client.edges()) as edges:
            seen = list(islice(edges, 500))
        thread.join()
        assert [edge.seqno for edge in seen] == list(range(1, 501))
        assert [edge.edge for edge in seen] == ["rising", "falling"] * 250
        assert [edge.timestamp_ns for edge in seen] == sorted(edge.timestamp_ns for edge in seen)


def test_lost_edges_are_told(chip: FakeGpioChip) -> None:
    driver = DigitalInput(device=chip.path, line=1)
    driver.reset()
    log = driver._lines.edges  # pyright: ignore[reportPrivateUsage]
    held = driver._lines._request  # pyright: ignore[reportPrivateUsage]
    with chip._lock:  # pyright: ignore[reportPrivateUsage] the reader cannot take any meanwhile
        for number in range(3000):
            chip.pull(1, number % 2 == 0)
    assert held is not None
    assert log.changes.wait_for(lambda: log.count and log.since(0)[0][-1].seqno == 3000, PATIENCE)
    edges, lost = log.since(0)
    assert lost == 0
    assert sum(edge.missed for edge in edges) + len(edges) == 3000
    assert sum(edge.missed for edge in edges) > 1000
    driver.close()


def test_several_lines_change_together(chip: FakeGpioChip) -> None:
    driver = DigitalPort(device=chip.path, lines=[3, "POWER"], output=True, initial_values=[False, True])
    with serve(driver) as client:
        assert client.call("read") == [0, 1]
        client.call("write", [1, 0])
        assert (chip.value(3), chip.value(0)) == (1, 0)
        with pytest.raises(DriverInvalidArgument, match="2 times 0 or 1"):
            client.call("write", [1])
        driver.release()
        assert client.call("read") == [0, 1]
    with serve(DigitalPort(device=chip.path, lines=[1, 2])) as client:
        assert client.call("read") == [0, 0]
        with pytest.raises(DriverInvalidArgument, match="inputs"):
            client.call("write", [1, 1])


def test_what_goes_wrong_says_what_to_do(chip: FakeGpioChip, tmp_path: Path) -> None:
    with serve(DigitalOutput(device=chip.path, line=0)):
        raises(DigitalInput(device=chip.path, line=0), BusyError, r"line 0 \(POWER\) .* is in use by 'jumpstarter'")
    raises(DigitalInput(device=f"{tmp_path}/gpiochip7", line=0), OSError, "is not there; this host has")
    raises(DigitalInput(device=chip.path, line="RESET"), ConfigurationError, "no line 'RESET'; it has POWER, BUTTON")
    raises(DigitalInput(device=chip.path, line=8), ConfigurationError, "has lines 0 to 7, not 8")
    raises(DigitalPort(device=chip.path, lines=[0, "POWER"]), ConfigurationError, "the same line twice")
    chip.unsupported.add("bias")
    raises(DigitalInput(device=chip.path, line=1, bias="pull_up"), NotImplementedError, "cannot do bias pull_up, edges")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"drive": "strong"}, "drive must be push_pull, open_drain, open_source, not 'strong'"),
        ({"bias": "up"}, "bias must be"),
        ({"initial_value": "high"}, "initial_value must be active or inactive"),
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        DigitalOutput(line=0, **config)


def test_a_chip_that_is_gone_is_found_again(chip: FakeGpioChip) -> None:
    with serve(DigitalInput(device=chip.path, line=1)) as client:
        timer = threading.Timer(0.2, chip.remove)
        timer.start()
        with pytest.raises(DeviceAbsentError, match="the chip is gone"):
            client.call("wait_for_active", PATIENCE)
        timer.join()
        with pytest.raises((DeviceAbsentError, OSError), match=r"not there|gone"):
            client.call("read_pin")
        chip.insert()
        assert client.call("read_pin") == 0
