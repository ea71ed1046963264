"""Exporters and clients as processes, and what the system knows of them."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jumpstarter.client.blocking_lane import FEW
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.tree import Policy
from jumpstarter_testing.processes import children, open_files

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient

    from tests.conftest import Exporter, Lab

T = TypeVar("T")

HERE = Path(__file__).parent
MIB = 1 << 20

LONG = 30 if os.environ.get("JMP_TEST_NIGHTLY") else 3
"""Seconds for which `long_blocker` blocks."""

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: {{name}}
export:
  net:
    type: jumpstarter_driver_network.driver.TcpNetwork
    config:
      host: 127.0.0.1
      port: {port}
  power:
    type: jumpstarter_driver_power.driver.MockPower
  probe:
    type: faultdrivers.Probe
    config:
      record: {record}
  board:
    type: drivers_of_sessions.Board
    config:
      record: {record}-board
      notes_close: true
  blocker:
    type: faultdrivers.Blocker
    config:
      seconds: 3
  long_blocker:
    type: faultdrivers.Blocker
    config:
      seconds: LONG
  bad:
    type: baddrivers.Bad
    config:
      record: {record}
""".replace("LONG", str(LONG))


def wait_for(what: Callable[[], T], timeout: float, explain: Callable[[], object] = lambda: "") -> T:
    """The first true result; fails when there is none within so many seconds."""
    deadline = time.monotonic() + timeout
    while not (result := what()):
        assert time.monotonic() < deadline, explain() or f"not within {timeout:g} s"
        time.sleep(0.01)
    return result


@dataclass(frozen=True)
class Census:
    """What a process has."""

    descriptors: int
    threads: int
    children: int
    sockets: int
    """Socket files in the runtime and temporary directories."""
    tasks: int

    def exceeds(self, other: Census) -> bool:
        return any(mine > theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True))


class Client:
    """A client process and the lines that it prints."""

    def __init__(self, argv: list[str], environment: dict[str, str], errors: Path) -> None:
        self._errors = errors
        with errors.open("w") as stderr:
            self.process = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        self.pid = self.process.pid
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def line(self, timeout: float = 60) -> str:
        """The next line."""
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"the client said nothing; errors: {self.errors}") from None

    @property
    def errors(self) -> str:
        """What it wrote to stderr."""
        return self._errors.read_text()

    def end(self) -> None:
        """Kill it, whatever it does."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(60)
        self._reader.join(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Bench:
    """One exporter, and clients of it."""

    def __init__(self, lab: Lab, exporter: Exporter, record: Path, authority: Path | None = None) -> None:
        self.lab, self.exporter, self.record = lab, exporter, record
        self.authority = authority
        """Certificate to trust, where the exporter speaks TLS."""
        self.process = exporter.process
        self.pid = exporter.process.pid
        self.address = exporter.address
        self._number = 0

    @property
    def is_tcp(self) -> bool:
        return not self.address.startswith("/")

    def environment(self, address: str | None = None) -> dict[str, str]:
        """That of a client, which finds the exporter, or a proxy of it."""
        trust = (
            {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.authority)} if self.authority else {"JMP_GRPC_INSECURE": "1"}
        )
        return (
            self.lab.environment | {"JUMPSTARTER_HOST": address or self.address, "JMP_DRIVERS_ALLOW": "UNSAFE"} | trust
        )

    def endpoint(self, address: str | None = None) -> Endpoint:
        """Where a client in this process finds the exporter, or a proxy of it."""
        authority = self.authority.read_text() if self.authority else None
        return Endpoint(address or self.address, insecure=authority is None, ca=authority)

    @contextmanager
    def client(self, *command: str, address: str | None = None) -> Generator[Client]:
        """A command that uses the exporter, killed at the end at the latest."""
        self._number += 1
        errors = self.record.with_name(f"{self.record.name}-errors{self._number}")
        program = self.lab.environment["PATH"].split(os.pathsep)[0] + "/" + command[0]
        client = Client([program, *command[1:]], self.environment(address), errors)
        try:
            yield client
        finally:
            client.end()

    @contextmanager
    def role(self, *role: str, address: str | None = None) -> Generator[Client]:
        """A role of faultclients."""
        with self.client(Path(sys.executable).name, str(HERE / "faultclients.py"), *role, address=address) as client:
            yield client

    @contextmanager
    def forward(self, *, address: str | None = None) -> Generator[tuple[Client, int]]:
        """`j net forward-tcp`; yields it and the local port."""
        with self.client("j", "net", "forward-tcp", "0", address=address) as client:
            yield client, int(client.line().rpartition(":")[2])

    @contextmanager
    def connected(self, address: str | None = None) -> Generator[DriverClient]:
        """A client in this process."""
        with connect(self.endpoint(address), Policy(unsafe=True)) as client:
            yield client

    def events(self, driver: str = "") -> list[str]:
        """What the drivers noted, or that one which has a file of its own."""
        record = self.record.with_name(f"{self.record.name}-{driver}") if driver else self.record
        return record.read_text().splitlines() if record.exists() else []

    def census(self, observer: DriverClient) -> Census:
        """What the exporter has now, with what it has for the observer, whose calls share a stream from now on."""
        tasks = [int(observer.children["probe"].call("tasks")) for _ in range(FEW + 1)][-1]
        places = (self.lab.directory, Path(self.lab.environment.get("TMPDIR", "/tmp")) / f"jumpstarter-{os.getuid()}")
        return Census(
            descriptors=len(descriptors(self.pid)),
            threads=threads(self.pid),
            children=len(children(self.pid)),
            sockets=sum(path.is_socket() for place in places if place.exists() for path in place.rglob("*")),
            tasks=tasks,
        )


def assert_served(bystander: DriverClient, driver: str = "probe") -> None:
    """A call of somebody else is answered soon."""
    started = time.monotonic()
    method, argument = ("echo", "hello") if driver == "probe" else ("plain", "")
    assert bystander.children[driver].call(method, argument) in ("hello", None)
    assert time.monotonic() - started < 1, f"answered after {time.monotonic() - started:.2f} s"


GRPC_THREADS = ("event_engine", "grpc_", "lifeguard", "timer", "resolver", "default-executo")
"""What gRPC names the threads of its pools, which grow and shrink as it likes."""


def threads(pid: int) -> int:
    """The threads of a process, but for those of gRPC's pools."""
    names: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            names.append((task / "comm").read_text())
    return sum(not name.startswith(GRPC_THREADS) for name in names)


def descriptors(pid: int) -> list[str]:
    """What a process has open, but for the record of its session, which it opens when it gets to it."""
    return [target for target in open_files(pid) if not target.endswith(".jsonl")]


def resident(pid: int) -> int:
    """Bytes of memory that a process takes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Memory:
    """The memory that a process takes at most, from now on."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")
        self._proc.joinpath("clear_refs").write_text("5")  # the peak is what it is now (proc(5))
        self._before = self._bytes("VmRSS")

    def _bytes(self, name: str) -> int:
        for line in self._proc.joinpath("status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"{self._proc} has no {name}")

    @property
    def growth(self) -> int:
        """Bytes at the peak over what there was."""
        return self._bytes("VmHWM") - self._before
