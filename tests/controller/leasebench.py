"""Exporters under a controller as processes, and clients that lease them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fakecontroller import FakeController
from jumpstarter.client.lease import Lease
from jumpstarter.config.client import ClientConfigV1Alpha1
from jumpstarter_testing.processes import open_files

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient

    from tests.conftest import Exporter, Lab

T = TypeVar("T")

EXPORT = """\
  board:
    type: drivers_of_sessions.Board
    config: {{record: {record}, notes_close: true}}
"""

SOON = 10.0
"""Seconds for what has to happen soon, on a machine that does other things, too."""


def wait_for(what: Callable[[], T], timeout: float = SOON, explain: Callable[[], object] = lambda: "") -> T:
    """The first true result; fails when there is none within so many seconds."""
    deadline = time.monotonic() + timeout
    while not (result := what()):
        assert time.monotonic() < deadline, explain() or f"not within {timeout:g} s"
        time.sleep(0.01)
    return result


class Registered:
    """A `jmp run` under a controller."""

    def __init__(self, name: str, exporter: Exporter, record: Path) -> None:
        self.name, self.exporter, self._record = name, exporter, record
        self.pid = exporter.process.pid

    @property
    def lines(self) -> list[str]:
        """Its log."""
        return self.exporter.lines

    def events(self) -> list[str]:
        """What its board noted."""
        return self._record.read_text().splitlines() if self._record.exists() else []

    def is_off(self) -> bool:
        """Whether the board is switched off, and nothing runs on it."""
        switched = [event for event in self.events() if event in ("on", "off")]
        began = sum(event.endswith(" began") for event in self.events())
        return switched[-1:] != ["on"] and began == sum(" ended" in event for event in self.events())

    def wait_event(self, event: str, timeout: float = SOON) -> None:
        wait_for(lambda: event in self.events(), timeout, lambda: f"no {event!r} in {self.events()}; {self.lines[-5:]}")

    def wait_line(self, text: str, timeout: float = SOON) -> str:
        """The first line of the log with a text."""
        return wait_for(
            lambda: next((line for line in self.lines[:] if text in line), ""),
            timeout,
            lambda: f"no {text!r} in {self.lines}",
        )

    def has_open(self, file: Path) -> bool:
        """Whether it has a file open."""
        return str(file) in open_files(self.pid)

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class LeaseBench:
    """A controller, and what it takes to use it."""

    def __init__(self, lab: Lab, controller: FakeController) -> None:
        self.lab, self.controller = lab, controller

    def client_file(self, name: str = "alice") -> Path:
        """The configuration of a client."""
        path = self.lab.directory / f"{name}.yaml"
        path.write_text(self.controller.client_config(name))
        return path

    def exporter_file(self, name: str, beside: str = "") -> tuple[Path, Path]:
        """The configuration of an exporter, and what its board notes."""
        record = self.lab.directory / f"{name}.record"
        path = self.lab.directory / f"{name}.yaml"
        path.write_text(self.controller.exporter_config(name, EXPORT.format(record=record)) + beside)
        return path, record

    @contextmanager
    def started(
        self, name: str = "board1", beside: str = "", options: tuple[str, ...] = (), **labels: str
    ) -> Generator[Registered]:
        """`jmp run`, which may not be registered yet."""
        if name not in self.controller.state.exporters:
            self.controller.add_exporter(name, **labels)
        path, record = self.exporter_file(name, beside)
        with self.lab.started(*options, config=path) as exporter:
            yield Registered(name, exporter, record)

    @contextmanager
    def exporter(
        self, name: str = "board1", beside: str = "", options: tuple[str, ...] = (), **labels: str
    ) -> Generator[Registered]:
        """The same once it can be leased."""
        with self.started(name, beside, options, **labels) as registered:
            self.controller.wait_status(name, "AVAILABLE")
            yield registered

    @contextmanager
    def leased(
        self, exporter: str = "board1", *, client: str = "alice", lease: str | None = None, minutes: float = 30
    ) -> Generator[tuple[Lease, DriverClient]]:
        """A lease of a client in this process, and the client of its board."""
        config = ClientConfigV1Alpha1.from_file(self.client_file(client))
        config.drivers.unsafe = True
        wanted = config.lease(None, exporter, lease, timedelta(minutes=minutes))
        with wanted as held, held.connect() as root:
            yield held, root.children["board"]

    @contextmanager
    def process(self, *command: str | Path) -> Generator[subprocess.Popen[str]]:
        """A command of a client, killed at the end at the latest."""
        process = subprocess.Popen(
            [str(part) for part in command],
            env=self.lab.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()
