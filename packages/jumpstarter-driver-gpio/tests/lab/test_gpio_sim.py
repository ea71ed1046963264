"""Lines of a real kernel chip, in the lab (scripts/lab test): levels, bias, edges, pulses, and what goes wrong."""

import os
import re
import threading
import time
from collections.abc import Generator
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path

import pytest
from jumpstarter.common.exceptions import BusyError, ConfigurationError, DeviceAbsentError
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver
from jumpstarter_driver_gpio.client import DigitalInputClient, DigitalOutputClient
from jumpstarter_driver_gpio.driver import DigitalInput, DigitalOutput, DigitalPort, PowerSwitch
from jumpstarter_driver_gpio.edges import PinState
from jumpstarter_testing.gpiosim import GpioSim, LevelTrace

pytestmark = [
    pytest.mark.skipif("JMP_LAB" not in os.environ, reason="it needs the lab: scripts/lab test"),
    pytest.mark.timeout(120),
]


@pytest.fixture
def sim() -> Generator[GpioSim]:
    with GpioSim(names={0: "POWER", 1: "BUTTON"}, hogs={7: "firmware"}) as sim:
        yield sim


def raises(driver: Driver, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match), serve(driver):
        pass


@pytest.mark.parametrize(("line", "offset"), [(0, 0), ("POWER", 0), (3, 3)])
@pytest.mark.parametrize("by", ["path", "label", "name"])
def test_a_line_is_found_and_driven(sim: GpioSim, line: int | str, offset: int, by: str) -> None:
    device = {"path": sim.path, "label": sim.label, "name": Path(sim.path).name}[by]
    with serve(DigitalOutput(device=device, line=line)) as client:
        assert isinstance(client, DigitalOutputClient)
        assert sim.value(offset) == 0
        client.on()
        assert (sim.value(offset), client.read()) == (1, PinState.ACTIVE)
        assert client.read() == PinState.ACTIVE
        client.off()
        assert (sim.value(offset), client.read()) == (0, PinState.INACTIVE)


def test_active_low_and_the_initial_level(sim: GpioSim) -> None:
    with serve(DigitalOutput(device=sim.path, line=2, active_low=True, initial_value="active")) as client:
        assert sim.value(2) == 0
        client.call("off")
        assert sim.value(2) == 1
        client.call("restore")
        assert sim.value(2) == 0


@pytest.mark.parametrize(("on_release", "level"), [(None, 0), ("on", 1), ("off", 0), ("leave", 1)])
def test_the_level_after_a_session(sim: GpioSim, on_release: str | None, level: int) -> None:
    driver = DigitalOutput(device=sim.path, line=3, on_release=on_release)
    driver.reset()
    try:
        (driver.off if on_release == "on" else driver.on)()
        driver.release()
        assert sim.value(3) == level
    finally:
        driver.close()


def test_a_supply(sim: GpioSim) -> None:
    with serve(PowerSwitch(device=sim.path, line="POWER", active_low=True)) as client:
        assert sim.value(0) == 1
        client.call("on")
        assert sim.value(0) == 0


def test_an_input_reads_its_level_and_bias(sim: GpioSim) -> None:
    with serve(DigitalInput(device=sim.path, line="BUTTON")) as client:
        assert isinstance(client, DigitalInputClient)
        sim.pull(1, up=True)
        assert client.read() == PinState.ACTIVE
        sim.pull(1, up=False)
        assert client.read() == PinState.INACTIVE
    with serve(DigitalInput(device=sim.path, line=4, bias="pull_up")) as client:
        assert client.call("read_pin") == 1
    with serve(DigitalInput(device=sim.path, line=4, bias="pull_up", active_low=True)) as client:
        assert client.call("read_pin") == 0


def test_edges_have_the_kernels_times_and_numbers(sim: GpioSim) -> None:
    sim.pull(1, up=False)
    with serve(DigitalInput(device=sim.path, line=1)) as client:
        assert isinstance(client, DigitalInputClient)

        def press() -> None:
            for up in (True, False, True):
                time.sleep(0.2)
                sim.pull(1, up=up)

        with closing(client.edges()) as edges:
            thread = threading.Thread(target=press)
            begin = time.monotonic_ns()
            thread.start()
            seen = list(islice(edges, 3))
            thread.join()
        assert [edge.edge for edge in seen] == ["rising", "falling", "rising"]
        assert [edge.seqno for edge in seen] == [1, 2, 3]
        assert [edge.missed for edge in seen] == [0, 0, 0]
        times = [begin, *(edge.timestamp_ns for edge in seen), time.monotonic_ns()]
        assert times == sorted(times)
        assert all(150e6 < later - earlier < 5e9 for earlier, later in pairwise(times[1:4]))


def test_a_level_that_is_not_stable_for_so_long_is_no_edge(sim: GpioSim) -> None:
    sim.pull(1, up=False)
    with serve(DigitalInput(device=sim.path, line=1, debounce=0.3)) as client:
        assert isinstance(client, DigitalInputClient)
        with closing(client.edges()) as edges:

            def bounce() -> None:
                time.sleep(0.5)
                for up in (True, False) * 20:
                    sim.pull(1, up=up)
                time.sleep(1)
                sim.pull(1, up=True)

            thread = threading.Thread(target=bounce)
            thread.start()
            edge = next(edges)
            thread.join()
        assert (edge.edge, edge.missed) == ("rising", 0)
        assert client.read() == PinState.ACTIVE
        assert edge.seqno == 1


def test_waiting_for_levels_and_edges(sim: GpioSim) -> None:
    sim.pull(1, up=False)
    with serve(DigitalInput(device=sim.path, line=1)) as client:
        assert isinstance(client, DigitalInputClient)
        with pytest.raises(TimeoutError, match=r"not active within 0\.2 s"):
            client.wait_for_active(0.2)
        client.wait_for_inactive(0)
        timer = threading.Timer(0.5, sim.pull, (1, True))
        timer.start()
        assert client.wait_for_edge("rising", 20).edge == "rising"
        client.wait_for_active(20)
        timer.join()


def test_a_pulse_has_its_width_by_the_kernels_clock(sim: GpioSim) -> None:
    with serve(DigitalOutput(device=sim.path, line=3)) as client, LevelTrace() as trace:
        assert isinstance(client, DigitalOutputClient)
        told = [client.pulse(0.05) for _ in range(10)]
        assert sim.value(3) == 0
        levels = trace.levels()
    assert [level.level for level in levels] == [1, 0] * 10
    widths = [end.seconds - begin.seconds for begin, end in zip(levels[::2], levels[1::2], strict=True)]
    errors = sorted(abs(width - 0.05) for width in widths)
    assert errors[2] < 0.001, widths  # others may have waited for the processor
    assert min(widths) > 0.05 - 0.001
    differences = sorted(abs(width - real) for width, real in zip(widths, told, strict=True))
    assert differences[4] < 0.001, "and what the client is told is what was so"


def test_several_lines_at_once(sim: GpioSim) -> None:
    with serve(DigitalPort(device=sim.path, lines=[3, "POWER", 5], output=True)) as client:
        client.call("write", [1, 0, 1])
        assert [sim.value(offset) for offset in (3, 0, 5)] == [1, 0, 1]
        assert client.call("read") == [1, 0, 1]
    with serve(DigitalPort(device=sim.path, lines=[1, 2])) as client:
        sim.pull(1, up=True)
        sim.pull(2, up=False)
        assert client.call("read") == [1, 0]


def test_a_busy_line_names_who_has_it(sim: GpioSim) -> None:
    raises(DigitalInput(device=sim.path, line=7), BusyError, "line 7 of GPIO chip .* is in use by 'firmware'")
    with serve(DigitalOutput(device=sim.path, line=0)):
        raises(DigitalInput(device=sim.path, line=0), BusyError, r"line 0 \(POWER\) .* is in use by 'jumpstarter'")


def test_what_is_not_there_says_what_is(sim: GpioSim) -> None:
    raises(
        DigitalInput(device="/dev/gpiochip99", line=0),
        OSError,
        re.escape(f"is not there; this host has {sim.path} (lab)"),
    )
    raises(
        DigitalInput(device="nolabel", line=0), OSError, "no GPIO chip has the name or label 'nolabel'; this host has"
    )
    raises(DigitalInput(device=sim.path, line="RESET"), ConfigurationError, "has no line 'RESET'; it has POWER, BUTTON")
    raises(DigitalInput(device=sim.path, line=99), ConfigurationError, "has lines 0 to 7, not 99")
    raises(DigitalInput(device="/dev/null", line=0), Exception, "is no GPIO chip")


def test_two_chips_with_one_label_are_not_guessed_between(sim: GpioSim) -> None:
    with GpioSim("twin") as twin:
        (one, other) = sorted((sim.path, twin.path))
        assert one != other
        with serve(DigitalOutput(device="twin", line=0)) as client:
            client.call("on")
            assert (sim.value(0), twin.value(0)) == (0, 1)


def test_who_may_not_open_the_chip_is_told_so(sim: GpioSim) -> None:
    read, write = os.pipe()
    if (pid := os.fork()) == 0:  # another user, in a process of its own
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            DigitalInput(device=sim.path, line=0).reset()
        except BaseException as e:  # noqa: BLE001 told through the pipe
            os.write(write, f"{type(e).__name__}: {e}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    said = os.read(read, 4096).decode()
    os.close(read)
    assert said.startswith("PermissionError: GPIO chip")
    assert "permission denied; add the exporter's user to the group" in said


def test_a_chip_that_is_gone_is_told_and_found_again() -> None:
    sim = GpioSim("gone")
    with sim:
        driver = DigitalInput(device="gone", line=1)
        with serve(driver) as client:
            assert client.call("read_pin") == 0
            sim.remove()
            with pytest.raises((DeviceAbsentError, OSError), match=r"gone|no GPIO chip has"):
                client.call("wait_for_active", 20)
            (sim._root / "live").write_text("1")  # pyright: ignore[reportPrivateUsage]
            deadline = time.monotonic() + 20
            while True:
                try:
                    assert client.call("read_pin") == 0
                    break
                except (DeviceAbsentError, OSError):
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
