"""One exporter and one client of any two releases, joined in any way, and what came of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from jumpstarter_testing.processes import family
from releases import OURS

BENCH = Path(__file__).parent / "bench"
PASSPHRASE = "let me in"
PATIENCE = 120.0
"""Seconds until a process counts as stuck: the public release takes several only to start."""

IDLE = float(os.environ.get("JMP_INTEROP_IDLE", "70"))
"""Seconds that a client is idle: it pings each 20 s, and a server that does not allow that ends it at the third."""

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: bench}}
export:
  power: {{type: jumpstarter_driver_power.driver.MockPower, description: Supply of the bench}}
  echo: {{type: jumpstarter_driver_network.driver.EchoNetwork}}
  probe:
    type: interop_bench.driver.Probe
    description: Probe of the bench
    methods_description: {{say: Speak through the exporter}}
    config: {{folder: {folder}}}
  group: {{children: {{supply: {{ref: power}}, lines: {{ref: rack}}}}}}
  rack:
    children:
      inner: {{type: interop_bench.driver.Probe, config: {{folder: {folder}}}}}
  again: {{ref: rack.inner}}
hooks:
  beforeLease: {{script: "echo before hook was here; touch {folder}/before", timeout: 30}}
  afterLease: {{script: "echo after hook was here; touch {folder}/after", timeout: 30}}
"""


@dataclass(frozen=True)
class Pairing:
    """Which release is at which end, and how they are joined."""

    client: str
    exporter: str
    transport: str

    def __str__(self) -> str:
        return f"{self.client} → {self.exporter}, {self.transport}"


@dataclass
class Outcome:
    """How a scenario went: passed, failed, or none where it does not apply."""

    outcome: str
    remark: str = ""
    seconds: float = 0.0


Results = dict[str, Outcome]


@dataclass
class Bench:
    """The folder of a pairing, with what its processes have in their environments."""

    pairing: Pairing
    folder: Path
    bins: Callable[[str], Path]
    certificate: tuple[Path, Path]
    address: str = ""
    log: list[str] = field(default_factory=list[str])

    def environment(self, release: str) -> dict[str, str]:
        """That of a process of a release, with the exporter's address."""
        ours = ("JMP_", "_JMP", "JUMPSTARTER_", "GRPC_", "XDG_", "VIRTUAL_ENV", "PYTHON")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        environment |= {
            "HOME": str(self.folder),
            "PATH": f"{self.bins(release)}{os.pathsep}{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / f"config-{release}"),
            "PYTHONPATH": str(BENCH),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TERM": "dumb",
            "JMP_DRIVERS_ALLOW": "UNSAFE",
            "INTEROP_CLIENT": self.pairing.client,
            "INTEROP_EXPORTER": self.pairing.exporter,
            "INTEROP_TRANSPORT": self.pairing.transport,
            "INTEROP_FOLDER": str(self.folder),
        }
        if self.address:
            environment["JUMPSTARTER_HOST"] = self.address
        if self.pairing.transport == "tcp":
            environment["JMP_GRPC_INSECURE"] = "1"
        if self.pairing.transport == "tls":
            environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(self.certificate[0])
            environment["JMP_GRPC_PASSPHRASE"] = PASSPHRASE
        return environment

    @property
    def results_file(self) -> Path:
        return self.folder / "results"

    def results(self) -> Results:
        """What the scenarios wrote down so far."""
        lines = self.results_file.read_text().splitlines() if self.results_file.exists() else []
        found = [json.loads(line) for line in lines]
        return {one["name"]: Outcome(one["outcome"], one["remark"], one["seconds"]) for one in found}

    # exporters

    @contextmanager
    def exporter(self) -> Generator[subprocess.Popen[str]]:
        """The exporter, ready; killed at the end."""
        config = self.folder / "bench.yaml"
        config.write_text(CONFIG.format(folder=self.folder))
        command = ["jmp", "run", "--exporter-config", str(config)]
        is_public_unix = self.pairing.transport == "unix" and self.pairing.exporter != OURS
        if is_public_unix:  # its `run` serves no socket, its `shell` does
            script = 'echo "$JUMPSTARTER_HOST" >address.new && mv address.new address && cat'
            command = ["jmp", "shell", "--exporter-config", str(config), "--", "sh", "-c", script]
        elif self.pairing.transport != "unix":
            port = free_port()
            address = f"127.0.0.1:{port}"
            command += ["--tls-grpc-listener", address]
            certificate, key = self.certificate
            command += (
                ["--tls-grpc-insecure"]
                if self.pairing.transport == "tcp"
                else ["--tls-cert", str(certificate), "--tls-key", str(key), "--passphrase", PASSPHRASE]
            )
        log = self.folder / "exporter.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                env=self.environment(self.pairing.exporter),
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        try:
            self.address = self._wait_ready(process, log, command)
            yield process
        finally:
            kill(process)
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            self.log = log.read_text().splitlines()

    def _wait_ready(self, process: subprocess.Popen[str], log: Path, command: list[str]) -> str:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, f"{command} ended: {log.read_text()}"
            assert time.monotonic() < deadline, f"{command} is not ready: {log.read_text()}"
            if address := self._address(log.read_text(), command):
                return address
            time.sleep(0.05)

    def _address(self, said: str, command: list[str]) -> str:
        if self.pairing.exporter == OURS:
            match = re.search(r"is ready on (\S+);", said)
            return match[1] if match else ""
        if self.pairing.transport == "unix":
            file = self.folder / "address"
            return file.read_text().strip() if file.exists() else ""
        address = command[command.index("--tls-grpc-listener") + 1]
        host, _, port = address.rpartition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
            return address
        return ""

    # clients

    def scenarios(self, *arguments: str) -> list[str]:
        """The command that runs scenarios by the client's release."""
        return [str(self.bins(self.pairing.client) / "python"), str(BENCH / "scenarios.py"), *arguments]

    def run(self, *command: str, timeout: float = PATIENCE, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the client's release to its end."""
        return subprocess.run(
            command,
            env=self.environment(self.pairing.client) | environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def started(self, *command: str) -> Generator[subprocess.Popen[str]]:
        """A command of the client's release, meanwhile."""
        process = subprocess.Popen(
            command,
            env=self.environment(self.pairing.client),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def free_port() -> int:
    """A port that nobody has now; the public release takes none for 0."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def after_hook(bench: Bench) -> Outcome:
    if bench.pairing.exporter != OURS:
        return Outcome("none", "the public release runs it only where a client has a name, and has none here")
    return Outcome("passed") if wait_for((bench.folder / "after").exists) else Outcome("failed", "it did not run")


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and what it started: the public exporter is a child in a session of its own."""
    for pid in reversed(family(process.pid)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def wait_for(what: Callable[[], bool], timeout: float = 30.0) -> bool:
    """Whether something became true in time."""
    deadline = time.monotonic() + timeout
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_idle_for_long(pairing: Pairing) -> bool:
    """Whether it has a client that does nothing for a long time, which is to be admitted by its exporter."""
    return pairing.transport == "tcp"


def play(
    pairing: Pairing, bins: Callable[[str], Path], certificate: tuple[Path, Path], busy: threading.Semaphore
) -> Results:
    """Everything that a pairing is asked to do, against one exporter; `busy` is not held while it only waits."""
    with tempfile.TemporaryDirectory(prefix="jmp") as folder, ExitStack() as stack:
        bench = Bench(pairing, Path(folder), bins, certificate)
        results: Results = {}
        idle: subprocess.Popen[str] | None = None
        with busy:
            exporter = stack.enter_context(bench.exporter())
            if is_idle_for_long(pairing):
                idle = stack.enter_context(
                    bench.started(*bench.scenarios("--idle", str(bench.results_file), str(IDLE)))
                )
            ran = bench.run(*bench.scenarios(str(bench.results_file)), timeout=3 * PATIENCE)
            if ran.returncode:
                results["scenarios end"] = Outcome("failed", ran.stdout + ran.stderr)
            for part in (commands, killed_client):
                results |= part(bench)
        if idle is not None:
            _, said = idle.communicate(timeout=IDLE + PATIENCE)
            if idle.returncode:
                results["keepalive"] = Outcome("failed", said)
        with busy:
            if pairing.transport != "unix":
                results |= shell(bench)  # an exporter of ours gives nobody a session while another one's stream is open
            results |= lost_exporter(bench, exporter)
        stack.close()  # the exporter's log is whole
        results = bench.results() | results
        for outcome in results.values():
            if outcome.outcome == "failed":
                outcome.remark += "\nThe exporter's log:\n" + "\n".join(bench.log[-60:])
        return results


def commands(bench: Bench) -> Results:
    """`j` in a shell that has the exporter's address."""
    is_public = bench.pairing.client != OURS
    results: Results = {}
    cases = {
        "j power": (("j", "power", "on"), 0, ""),
        "j of a client's own": (("j", "probe", "say", "hello"), 0, "said hello"),
        "j that fails": (("j", "probe", "fail", "RuntimeError"), 1 if is_public else 70, "as you wish"),
    }
    for name, (command, status, text) in cases.items():
        started = time.monotonic()
        done = bench.run(*command)
        results[name] = _judged(done, status, text, started)
    if bench.pairing.transport == "tls":
        started = time.monotonic()
        done = bench.run("j", "power", "on", JMP_GRPC_PASSPHRASE="wrong")
        results["wrong passphrase"] = _judged(done, 1 if is_public else 77, "", started)
    return results


def shell(bench: Bench) -> Results:
    """`jmp shell` with an address."""
    options = ["--tls-grpc-insecure"] if bench.pairing.transport == "tcp" else []
    if bench.pairing.transport == "tls" and bench.pairing.client != OURS:
        options = ["--passphrase", PASSPHRASE]
    command = ["jmp", "shell", "--tls-grpc", bench.address, *options, "--", "j", "again", "say", "hello"]
    started = time.monotonic()
    done = bench.run(*command, JUMPSTARTER_HOST="")
    return {"jmp shell": _judged(done, 0, "said hello", started)}


def _judged(done: subprocess.CompletedProcess[str], status: int, text: str, started: float) -> Outcome:
    said = done.stdout + done.stderr
    is_right = done.returncode == status and re.search(text, said) is not None
    remark = "" if is_right else f"status {done.returncode}, expected {status} and {text!r}:\n{said}"
    return Outcome("passed" if is_right else "failed", remark, time.monotonic() - started)


def killed_client(bench: Bench) -> Results:
    """A client that is killed in the middle of everything leaves an exporter that works."""
    started = time.monotonic()
    with bench.started(*bench.scenarios("--hold")) as client:
        assert client.stdout is not None
        if client.stdout.readline() != "held\n":
            return {"killed client": Outcome("failed", client.communicate()[1])}
        client.kill()
    if not wait_for((bench.folder / "ticks-ended").exists):
        return {"killed client": Outcome("failed", "the endless call goes on")}
    done = bench.run("j", "probe", "say", "hello")
    return {"killed client": _judged(done, 0, "said hello", started)}


def lost_exporter(bench: Bench, exporter: subprocess.Popen[str]) -> Results:
    """An exporter that ends, or is killed, in the middle of everything is an error to its client, and soon."""
    with bench.started(*bench.scenarios("--victim", str(bench.results_file))) as client:
        assert client.stdout is not None
        if client.stdout.readline() != "held\n":
            return {"lost_exporter": Outcome("failed", client.communicate()[1])}
        if bench.pairing.transport != "tcp":
            kill(exporter)
            results: Results = {}
        else:
            exporter.terminate()
            exporter.wait(PATIENCE)
            results = {"after hook": after_hook(bench)}
        with suppress(subprocess.TimeoutExpired):
            client.wait(60)
            return results
    return results | {"lost_exporter": Outcome("failed", "the client still waits after 60 s")}
