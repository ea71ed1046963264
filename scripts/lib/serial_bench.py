"""The work of scripts/serial-bench."""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
from flash_bench import say, wait_for
from jumpstarter.streams.blocking import BlockingStream
from jumpstarter.utils.env import env

BLOCK, SMALL = 64 * 1024, 4 * 1024

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: serial-bench}}
export:
  echo: {{type: jumpstarter_driver_serial.driver.PySerial, config: {{url: {folder}/echo}}}}
  bulk: {{type: jumpstarter_driver_serial.driver.PySerial, config: {{url: {folder}/bulk}}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0.5, help="of round trips, each time")
    parser.add_argument("--mib", type=int, default=16, help="each way, each time")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--part", choices=["devices", "bare"], help="a process of the bench; it starts these itself")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.part == "devices":
        devices(options.folder)
    elif options.part == "bare":
        asyncio.run(bare_server(options.folder))
    else:
        with tempfile.TemporaryDirectory(prefix="serial-bench-") as folder:
            Bench(Path(folder), options.seconds, options.mib << 20, options.rounds).run()


class Bench:
    def __init__(self, folder: Path, seconds: float, size: int, rounds: int) -> None:
        self.folder, self.seconds, self.size, self.rounds = folder, seconds, size, rounds
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}

    def run(self) -> None:
        config = self.folder / "bench.yaml"
        config.write_text(CONFIG.format(folder=self.folder))
        exporter = ["jmp", "run", "--exporter-config", str(config)]
        with self.running(*self.part("devices"), until=lambda: until_there(self.folder / "plain")):
            address = self.folder / "jumpstarter/serial-bench.sock"
            os.environ["JUMPSTARTER_HOST"] = str(address)
            with (
                self.running(*self.part("bare"), until=lambda: wait_for(self.folder / "bare.sock")),
                self.running(*exporter, until=lambda: wait_for(address)),
                env() as client,
            ):
                self.compare(client)

    def part(self, name: str) -> list[str]:
        return [sys.executable, __file__, "--part", name, "--folder", str(self.folder)]

    @contextmanager
    def running(self, *command: str, until: Callable[[], object]) -> Generator[None]:
        process = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until()
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)

    def limits(self, block: int) -> tuple[float, float]:
        """What a process gets from the pseudo-terminal that is joined with nothing else, and gives it, in MiB/s.

        At its other end is the process that is at the other end of the console's.
        """
        fd = os.open(self.folder / "plain", os.O_RDWR | os.O_NOCTTY)
        try:
            return bulk(lambda data: write_all(fd, data), lambda: os.read(fd, BLOCK), self.size, block)
        finally:
            os.close(fd)

    def compare(self, client: Any) -> None:
        bare, ours = list[float](), list[float]()
        bounds, rates = list[list[float]](), list[list[float]]()
        for _ in range(self.rounds):  # turn by turn, since the machine changes its mind
            bare.append(asyncio.run(bare_client(self.folder, self.seconds)))
            with client.echo.stream() as stream:
                ours.append(round_trips(stream, self.seconds))
            (read, write), (_, small) = self.limits(BLOCK), self.limits(SMALL)
            bounds.append([read, write, small])
            with client.bulk.stream() as stream:
                read, write = bulk(stream.send, stream.receive, self.size, BLOCK)
                _, small = bulk(stream.send, stream.receive, self.size, SMALL)
            rates.append([read, write, small])
        tell("one byte there and back, bare grpc.aio", bare, "us")
        tell("one byte there and back, console (2 or less)", ours, "us", bare)
        ways = ("read", f"write {BLOCK >> 10} KiB at once", f"write {SMALL >> 10} KiB at once")
        for way, bound, rate in zip(ways, zip(*bounds, strict=True), zip(*rates, strict=True), strict=True):
            tell(f"{way}, the pseudo-terminal itself", bound, "MiB/s")
            tell(f"{way}, console (0.8 or more)", rate, "MiB/s", bound)


def round_trips(stream: BlockingStream, seconds: float) -> float:
    """The median of a byte's way there and back, in microseconds."""
    times = list[float]()
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        stream.send(b"x")
        stream.receive()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


def bulk(send: Callable[[bytes], object], receive: Callable[[], bytes], size: int, block: int) -> tuple[float, float]:
    """MiB per second that come from the device, and that go there, so many bytes at once."""
    send(b"S%010d" % size)
    got = first = len(receive())
    begin = time.perf_counter()
    while got < size:
        got += len(receive())
    read = (size - first) / (time.perf_counter() - begin)
    begin, piece = time.perf_counter(), b"z" * block
    send(b"K%010d" % size)
    for _ in range(size // block):
        send(piece)
    while not receive():
        pass
    return read / (1 << 20), size / (time.perf_counter() - begin) / (1 << 20)


# the devices


def devices(folder: Path) -> None:
    """Be the devices on pseudo-terminals: two that echo, and two that send and take much."""
    for name, work in (("echo", echo), ("bare", echo), ("bulk", send_and_take), ("plain", send_and_take)):
        device, port = os.openpty()
        tty.setraw(port)  # it stays open: the device must not see a hang-up between two users
        (folder / name).symlink_to(os.ttyname(port))
        threading.Thread(target=work, args=(device,), daemon=True).start()
    signal.sigwait({signal.SIGINT})


def echo(device: int) -> None:
    while True:
        write_all(device, os.read(device, BLOCK))


def send_and_take(device: int) -> None:
    while True:
        command = b""
        while len(command) < 11:
            command += os.read(device, 11 - len(command))
        left = int(command[1:])
        if command.startswith(b"S"):
            write_all(device, b"0123456789abcdef" * (left // 16))
        else:
            while left > 0:
                left -= len(os.read(device, min(left, BLOCK)))
            write_all(device, b"!")


def write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


# the bare stream


async def bare_server(folder: Path) -> None:
    """A bidirectional stream that is joined with a pseudo-terminal, and nothing else."""
    port = os.open(folder / "bare", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    came: asyncio.Queue[bytes] = asyncio.Queue()
    asyncio.get_running_loop().add_reader(port, lambda: came.put_nowait(os.read(port, BLOCK)))

    async def join(requests: AsyncIterator[bytes], context: Any) -> None:
        async def take() -> None:
            async for data in requests:
                os.write(port, data)

        taking = asyncio.create_task(take())
        try:
            while True:
                await context.write(await came.get())
        finally:
            taking.cancel()

    handler = cast(Any, grpc).stream_stream_rpc_method_handler(join)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", {"Join": handler}),))
    server.add_insecure_port(f"unix:{folder}/bare.sock")
    await server.start()
    await server.wait_for_termination()


async def bare_client(folder: Path, seconds: float) -> float:
    """As `round_trips`."""
    times = list[float]()
    async with cast(Any, grpc.aio).insecure_channel(f"unix:{folder}/bare.sock") as channel:
        call = channel.stream_stream("/bench/Join")()
        write: Callable[[bytes], Awaitable[None]] = call.write
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            await write(b"x")
            await call.read()
            times.append(time.perf_counter() - begin)
        call.cancel()
    return statistics.median(times) * 1e6


def until_there(path: Path) -> None:
    for _ in range(300):
        if path.exists():
            return
        time.sleep(0.1)
    raise TimeoutError(f"no {path}")


def tell(what: str, values: Sequence[float], unit: str, base: Sequence[float] | None = None) -> None:
    """The median and the range; and the median of the rounds' ratios to `base`."""
    ratio = ""
    if base is not None:
        ratio = f", {statistics.median(value / bound for value, bound in zip(values, base, strict=True)):.2f} x"
    say(f"{what}: {statistics.median(values):.0f} {unit} [{min(values):.0f}..{max(values):.0f}]{ratio}")


if __name__ == "__main__":
    main()
