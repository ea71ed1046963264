"""Power drivers and their client, over the wire."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result
from jumpstarter.client.core import DriverError, DriverInvalidArgument, DriverMethodNotImplemented
from jumpstarter.common import utils
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.driver import Driver, export
from jumpstarter.driver.table import exported_methods
from jumpstarter.exporter.session import Session
from jumpstarter_driver_power.common import PowerReading
from jumpstarter_driver_power.driver import MockPower, PowerInterface, SyncMockPower, VirtualPowerInterface


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


@dataclass(kw_only=True)
class Supply(PowerInterface, Driver):
    """A supply that writes down when it was switched, with plain methods; `fail` names one that fails."""

    fail: str = ""
    log: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]], init=False)

    @export
    def on(self) -> None:
        self._done("on")

    @export
    def off(self) -> None:
        self._done("off")

    @export
    def read(self) -> Generator[dict[str, float]]:  # pyright: ignore[reportIncompatibleMethodOverride] any mapping will do
        raise NotImplementedError("no meter in this supply")
        yield

    def _done(self, what: str) -> None:
        self.log.append((what, time.monotonic()))
        if what == self.fail:
            raise OSError(f"relay stuck at {what}")

    @property
    def done(self) -> list[str]:
        return [what for what, _ in self.log]


@dataclass(kw_only=True)
class AsyncSupply(Supply):
    """The same with asynchronous methods that take their time."""

    @export
    async def on(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] an interface allows both
        await anyio.sleep(0.05)
        self._done("on")

    @export
    async def off(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await anyio.sleep(0.05)
        self._done("off")


@dataclass(kw_only=True)
class Meter(Supply):
    """A supply that measures `items` times per call of `read`, `period` seconds apart: 1 V, 2 V, ..."""

    items: int = 1000
    period: float = 0.0
    calls: int = field(default=0, init=False)
    closed: bool = field(default=False, init=False)

    @export
    async def read(self) -> AsyncGenerator[dict[str, float]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.calls += 1
        try:
            for number in range(1, self.items + 1):
                yield {"voltage": float(number), "current": 0.5}
                await anyio.sleep(self.period)
        finally:
            self.closed = True


@dataclass(kw_only=True)
class OldSupply(Supply):
    """A driver of another release: nothing in it cycles."""

    cycle = None  # pyright: ignore[reportAssignmentType]


@dataclass(kw_only=True)
class Machine(VirtualPowerInterface, Driver):
    """A virtual machine that remembers how it was stopped."""

    log: list[object] = field(default_factory=list[object], init=False)

    @export
    def on(self) -> None:
        self.log.append("on")

    @export
    def off(self, destroy: bool = False) -> None:
        self.log.append(("off", destroy))

    @export
    def read(self) -> Generator[dict[str, float]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        yield {"voltage": 12.0, "current": 1.0}


def until(condition: Callable[[], object]) -> None:
    """Wait until something is true, 5 s at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run(client: Any, *args: str) -> Result:
    return CliRunner().invoke(client.cli(), args)


class TestMocks:
    @pytest.mark.parametrize("mock", [MockPower, SyncMockPower])
    def test_it_remembers_what_it_was_told(self, mock: type[MockPower | SyncMockPower]) -> None:
        power = mock()
        assert power.is_on is None
        with serve(power) as client:
            assert client.on() is None
            assert power.is_on is True
            assert client.off() is None
            assert power.is_on is False
            client.cycle(wait=0)
            assert power.is_on is True

    @pytest.mark.parametrize("mock", [MockPower, SyncMockPower])
    def test_it_always_measures_the_same(self, mock: type[MockPower | SyncMockPower]) -> None:
        with serve(mock()) as client:
            assert list(client.read()) == [
                PowerReading(voltage=0.0, current=0.0),
                PowerReading(voltage=5.0, current=2.0),
            ]

    def test_apparent_power_is_the_product(self) -> None:
        assert PowerReading(voltage=5.0, current=2.0).apparent_power == 10.0


@pytest.mark.parametrize("kind", [Supply, AsyncSupply])
class TestCycle:
    def test_it_switches_off_waits_and_switches_on(self, kind: type[Supply]) -> None:
        supply = kind()
        with serve(supply) as client:
            client.cycle(wait=0.3)
        assert supply.done == ["off", "on"]
        assert supply.log[1][1] - supply.log[0][1] >= 0.3

    def test_a_cancelled_call_still_switches_on(self, kind: type[Supply]) -> None:
        supply = kind()
        with serve(supply) as client:
            call = client.portal.start_task_soon(client.call_async, "cycle", 0.5)
            until(lambda: supply.done == ["off"])
            call.cancel()
            until(lambda: supply.done == ["off", "on"])

    def test_a_killed_client_still_gets_its_device_on(self, kind: type[Supply]) -> None:
        supply = kind()
        with Session(root_device=supply) as session, session.serve_unix() as path:
            session.update_status(ExporterStatus.LEASE_READY)
            code = "from jumpstarter.common.utils import env\nwith env() as power: power.cycle(1)"
            environment = {**os.environ, "JUMPSTARTER_HOST": str(path)}
            client = subprocess.Popen([sys.executable, "-c", code], env=environment)
            try:
                until(lambda: supply.done == ["off"])
            finally:
                client.send_signal(signal.SIGKILL)
                client.wait()
            until(lambda: supply.done == ["off", "on"])

    def test_it_switches_on_even_where_switching_off_failed(self, kind: type[Supply]) -> None:
        supply = kind(fail="off")
        with serve(supply) as client, pytest.raises(DriverError, match="relay stuck at off"):
            client.cycle(0)
        assert supply.done == ["off", "on"]

    def test_the_failure_to_switch_on_reaches_the_client(self, kind: type[Supply]) -> None:
        with serve(kind(fail="on")) as client, pytest.raises(DriverError, match="relay stuck at on"):
            client.cycle(0)

    @pytest.mark.parametrize("wait", [-1, float("-inf"), "soon", None, True])
    def test_a_wait_that_can_never_work_is_refused_before_anything_happens(self, kind: type[Supply], wait: Any) -> None:
        supply = kind()
        with serve(supply) as client, pytest.raises(DriverInvalidArgument, match="wait"):
            client.cycle(wait)
        assert supply.done == []


class TestInterface:
    def test_calls_of_a_plain_driver_do_not_come_between_off_and_on(self) -> None:
        supply = Supply()
        with serve(supply) as client:
            cycle = client.portal.start_task_soon(client.call_async, "cycle", 0.3)
            until(lambda: supply.done == ["off"])
            client.off()
            cycle.result(60)
        assert supply.done == ["off", "on", "off"]

    def test_calls_of_others_wait_for_a_cycle_whose_client_is_gone(self) -> None:
        supply = Supply()
        with serve(supply) as client:
            cycle = client.portal.start_task_soon(client.call_async, "cycle", 0.3)
            until(lambda: supply.done == ["off"])
            cycle.cancel()
            time.sleep(0.1)
            client.off()
        assert supply.done == ["off", "on", "off"]

    def test_every_power_driver_exports_cycle(self) -> None:
        assert {"on", "off", "read", "cycle"} <= exported_methods(MockPower).keys()
        assert "cycle" not in exported_methods(OldSupply)

    def test_the_client_cycles_by_itself_where_the_exporter_cannot(self) -> None:
        supply = OldSupply()
        with serve(supply) as client:
            client.cycle(wait=0.2)
        assert supply.done == ["off", "on"]
        assert supply.log[1][1] - supply.log[0][1] >= 0.2

    def test_what_a_device_cannot_do_is_said(self) -> None:
        with serve(Supply()) as client:
            with pytest.raises(NotImplementedError, match="no meter in this supply"):
                list(client.read())
            with pytest.raises(DriverMethodNotImplemented, match="rescue"):
                client.rescue()

    def test_readings_end_when_the_client_stops_listening(self) -> None:
        meter = Meter(period=0.01)
        with serve(meter) as client:
            readings = client.read()
            assert next(readings) == PowerReading(voltage=1, current=0.5)
            readings.close()
            until(lambda: meter.closed)

    def test_a_virtual_machine_can_be_destroyed(self) -> None:
        machine = Machine()
        with serve(machine) as client:
            client.on()
            client.off()
            client.off(destroy=True)
            client.cycle(0)
        assert machine.log == ["on", ("off", False), ("off", True), ("off", False), "on"]

    @pytest.mark.parametrize("module", ["driver", "client"])
    def test_pydantic_is_not_imported_before_something_is_measured(self, module: str) -> None:
        code = f"import sys, jumpstarter_driver_power.{module}; assert 'pydantic' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_the_driver_module_has_the_reading_for_other_drivers(self) -> None:
        from jumpstarter_driver_power import driver

        assert driver.PowerReading is PowerReading
        with pytest.raises(AttributeError, match="PowerWriting"):
            _ = driver.PowerWriting  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]


class TestCommands:
    def test_on_off_and_cycle(self) -> None:
        supply = Supply()
        with serve(supply) as client:
            for args in (["on"], ["off"], ["cycle", "-w", "0.1"]):
                assert run(client, *args).exit_code == 0
        assert supply.done == ["on", "off", "off", "on"]
        assert supply.log[3][1] - supply.log[2][1] >= 0.1

    def test_read_prints_one_reading(self) -> None:
        with serve(Meter()) as client:
            assert run(client, "read").output == "1.000 V  0.500 A  0.500 VA\n"

    def test_read_begins_again_where_the_driver_ends(self) -> None:
        with serve(MockPower()) as client:
            lines = run(client, "read", "--count", "3", "--interval", "0.05").output.splitlines()
        assert lines[:2] == ["0.000 V  0.000 A  0.000 VA", "5.000 V  2.000 A  10.000 VA"]
        assert len(lines) == 3

    def test_read_prints_the_newest_reading_after_each_interval(self) -> None:
        meter = Meter(period=0.01)
        with serve(meter) as client:
            begin = time.monotonic()
            lines = run(client, "read", "-n", "3", "-i", "0.3").output.splitlines()
            assert time.monotonic() - begin >= 0.6
        volts = [float(line.split()[0]) for line in lines]
        assert volts[0] == 1
        assert volts[1] > 10
        assert volts[2] > 20
        assert meter.calls == 1

    def test_read_ends_where_a_driver_has_no_readings(self) -> None:
        with serve(Meter(items=0)) as client:
            result = run(client, "read", "-n", "0")
        assert (result.output, result.exit_code) == ("", 0)

    def test_destroy_is_an_option_of_virtual_machines(self) -> None:
        machine = Machine()
        with serve(machine) as client:
            assert run(client, "off", "--destroy").exit_code == 0
            assert run(client, "off").exit_code == 0
        assert machine.log == [("off", True), ("off", False)]

    @pytest.mark.parametrize(
        "args",
        [["cycle", "--wait", "-1"], ["read", "-n", "-1"], ["read", "-i", "x"], ["on", "now"], ["off", "--destroy"]],
    )
    def test_wrong_use_is_a_usage_error(self, args: list[str]) -> None:
        with serve(MockPower()) as client:
            assert run(client, *args).exit_code == 2

    def test_help_has_units_and_defaults(self) -> None:
        with serve(MockPower(methods_description={"on": "Wake the board."})) as client:
            output = run(client, "cycle", "--help").output
            assert "--wait SECONDS" in output
            assert "2.0" in output
            assert "Wake the board." in run(client, "--help").output
