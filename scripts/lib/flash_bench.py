"""The work of scripts/flash-bench."""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: flash-bench}}
export:
  storage:
    type: jumpstarter_driver_storage.driver.FileStorage
    config: {{path: {medium}}}
"""

CLIENT = """\
import json, sys, time
from jumpstarter.utils.env import env

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) >> 10

path, verify, way = sys.argv[1:]
with env() as client:
    client.storage.state()
    before, start, cpu = peak(), time.monotonic(), time.process_time()
    result = client.storage.flash(path, verify=verify, lend=way == "lent")
    out = {"seconds": time.monotonic() - start, "received": result.received, "growth": peak() - before}
    out["cpu"] = time.process_time() - cpu
print(json.dumps(out))
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flash-bench-", dir=options.folder) as folder:
        Bench(Path(folder), options.mib, options.rounds).run()


@dataclass
class Rates:
    """MiB per second of what goes one way."""

    name: str
    """lent: the exporter reads the file itself; sent: it comes through the connection, as from another host."""

    off: list[float] = field(default_factory=list[float])
    full: list[float] = field(default_factory=list[float])
    zeros: list[float] = field(default_factory=list[float])


class Bench:
    def __init__(self, folder: Path, mib: int, rounds: int) -> None:
        self.folder, self.mib, self.rounds = folder, mib, rounds
        self.medium = folder / "medium"
        self.dense, self.changed, self.sparse = folder / "dense", folder / "changed", folder / "sparse"
        self.socket = folder / "jumpstarter/flash-bench.sock"
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "JUMPSTARTER_HOST": str(self.socket)}
        self.env |= {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}
        self.growth: dict[str, list[int]] = {"client": [], "exporter": []}
        self.cpu: dict[str, list[float]] = {}

    def run(self) -> None:
        self.images()
        cp = list[float]()
        ways = [Rates("lent"), Rates("sent")]
        for _ in range(self.rounds):  # turn by turn, since the machine changes its mind
            cp.append(self.mib / self.timed(self.cp))
            for way in ways:
                way.off.append(self.flash(self.dense, "off", way.name))
                way.full.append(self.flash(self.dense, "full", way.name))
                way.zeros.append(self.flash(self.sparse, "off", way.name, 4 * self.mib))
        base = statistics.median(cp)
        tell("cp and sync", cp, base)
        for way in ways:
            tell(f"{way.name}, verify off (0.6 or more)", way.off, base)
            tell(f"{way.name}, verify full (0.35 or more)", way.full, base)
            tell(
                f"{way.name}, 4 times the size, 90 % zeros (4 or more)", way.zeros, statistics.median(way.off), "dense"
            )
        for name, seconds in self.cpu.items():
            say(f"processor time per GiB, {name}: {statistics.median(seconds) * 1024 / self.mib:.2f} s")
        self.second()
        for name, values in self.growth.items():
            say(f"growth of the {name}'s memory (under 96 MiB): {max(values)} MiB")

    def images(self) -> None:
        block = 1 << 20
        with self.dense.open("wb") as dense, self.changed.open("wb") as changed, self.sparse.open("wb") as sparse:
            for number in range(self.mib):
                data = os.urandom(block)
                dense.write(data)
                changed.write(os.urandom(block) if number % 100 == 50 else data)
            for number in range(4 * self.mib):  # written, not left out: the zeros are really there
                sparse.write(os.urandom(block) if number % 10 == 0 else bytes(block))
        subprocess.run(["sync"], check=True)

    def cp(self) -> None:
        self.medium.unlink(missing_ok=True)
        subprocess.run(["cp", "--sparse=never", self.dense, self.medium], check=True)
        subprocess.run(["sync", self.medium], check=True)

    def timed(self, function: Callable[[], object]) -> float:
        start = time.monotonic()
        function()
        return time.monotonic() - start

    def flash(self, image: Path, verify: str, way: str, mib: int = 0) -> float:
        """MiB per second of a flash of which nothing has come before; its blocks are kept, as they are by default."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        return (mib or self.mib) / float(self.measured(image, verify, way)["seconds"])

    def measured(self, image: Path, verify: str, way: str) -> dict[str, float]:
        """Seconds, bytes received and growth of a flash by an exporter of its own."""
        self.medium.unlink(missing_ok=True)
        config = self.folder / "bench.yaml"
        config.write_text(CONFIG.format(medium=self.medium))
        command = ["jmp", "run", "--exporter-config", str(config)]
        exporter = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(self.socket)
            worker = worker_of(exporter.pid)
            before, cpu = peak_mib(worker), cpu_seconds(worker)
            done = subprocess.run(
                [sys.executable, "-c", CLIENT, image, verify, way],
                env=self.env,
                stdout=subprocess.PIPE,
                check=True,
            )
            self.growth["exporter"].append(peak_mib(worker) - before)
            result: dict[str, float] = json.loads(done.stdout)
            if image == self.dense:
                self.cpu.setdefault(f"client, {way}, verify {verify}", []).append(result["cpu"])
                self.cpu.setdefault(f"exporter, {way}, verify {verify}", []).append(cpu_seconds(worker) - cpu)
            self.growth["client"].append(int(result["growth"]))
            return result
        finally:
            exporter.send_signal(signal.SIGINT)
            exporter.wait(20)

    def second(self) -> None:
        """What is sent of an image of which one percent is new."""
        self.flash(self.dense, "off", "sent")
        again = self.measured(self.changed, "off", "sent")
        share = again["received"] / (self.mib << 20)
        say(f"second flash, 1 % changed: {100 * share:.2f} % of the bytes sent (under 5 %), {again['seconds']:.2f} s")


def wait_for(address: Path) -> None:
    """Wait until an exporter listens there."""
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(address))
            except OSError:
                time.sleep(0.1)
            else:
                return
    raise TimeoutError(f"no exporter listens on {address}")


def worker_of(pid: int) -> int:
    """The process that has the drivers: the child of a supervisor, or the process itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return max([pid, *map(int, children)], key=peak_mib)


def peak_mib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    return 0


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def tell(what: str, rates: list[float], base: float, unit: str = "cp") -> None:
    rate = statistics.median(rates)
    say(f"{what}: {rate:.0f} MiB/s [{min(rates):.0f}..{max(rates):.0f}], {rate / base:.2f} x {unit}")


if __name__ == "__main__":
    main()
