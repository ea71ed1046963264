"""A driver with the faults that drivers have, in the exporter that the fault tests start."""

import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import EndOfStream
from anyio.abc import ObjectStream
from jumpstarter.driver import Driver, export, exportstream

FAULTS: dict[str, type[BaseException]] = {
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "BaseException": BaseException,
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
}


def fail(fault: str) -> None:
    """Raise what has that name."""
    if fault == "group":
        raise BaseExceptionGroup("several", [SystemExit(3), KeyboardInterrupt("now"), ValueError("odd")])
    if fault:
        raise FAULTS[fault]("of the driver")


class Broken(ObjectStream[bytes]):
    """A device that fails when it is read."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    async def receive(self) -> bytes:
        fail(self._fault)
        raise EndOfStream

    async def send(self, item: bytes) -> None:
        pass

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class Stuck(Broken):
    """A device that takes nothing and gives nothing; it notes how many bytes it was offered."""

    def __init__(self, record: Path) -> None:
        super().__init__("")
        self._record = record

    async def receive(self) -> bytes:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, item: bytes) -> None:
        with self._record.open("a") as file:
            file.write(f"stuck was offered {len(item)}\n")
        await anyio.sleep_forever()


class Flood(Broken):
    """A device that never stops talking."""

    def __init__(self) -> None:
        super().__init__("")
        self.given = 0

    async def receive(self) -> bytes:
        self.given += 65536
        return bytes(65536)


@dataclass(kw_only=True)
class Bad(Driver):
    """Raises what a driver should not, and has devices that do not do what they should."""

    record: str
    """File that gets one line per event."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def _note(self, event: str) -> None:
        with Path(self.record).open("a") as file:
            file.write(f"{event}\n")

    # what must not be raised, in each form that a driver's code has; nothing is raised for ""

    @export
    def plain(self, fault: str) -> None:
        fail(fault)

    @export
    async def coroutine(self, fault: str) -> None:
        fail(fault)

    @export
    def generator(self, fault: str) -> Generator[int]:
        yield 1
        fail(fault)

    @export
    async def generator_async(self, fault: str) -> AsyncGenerator[int]:
        yield 1
        fail(fault)

    @exportstream
    @asynccontextmanager
    async def opening(self) -> AsyncGenerator[ObjectStream[bytes]]:
        fail(self.fault)
        yield Broken("")

    @exportstream
    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[ObjectStream[bytes]]:
        yield Broken(self.fault)

    @exportstream
    @asynccontextmanager
    async def closing(self) -> AsyncGenerator[ObjectStream[bytes]]:
        yield Broken("")
        fail(self.fault)

    fault: str = ""

    @export
    def set_fault(self, fault: str) -> None:
        """What the streams raise that are opened from now on."""
        self.fault = fault

    # devices that do not do what they should

    @exportstream
    @asynccontextmanager
    async def stuck(self) -> AsyncGenerator[ObjectStream[bytes]]:
        yield Stuck(Path(self.record))

    @exportstream
    @asynccontextmanager
    async def flood(self) -> AsyncGenerator[ObjectStream[bytes]]:
        device = Flood()
        try:
            yield device
        finally:
            self._note(f"flood gave {device.given}")

    # things that take their time

    @export(concurrent=True)
    def wait(self, seconds: float) -> None:
        """Beside other calls of this driver."""
        time.sleep(seconds)

    @export(concurrent=True)
    async def wait_in_thread(self, seconds: float) -> None:
        """In the threads that all drivers share."""
        await anyio.to_thread.run_sync(time.sleep, seconds)

    @export
    def queue(self, seconds: float) -> None:
        """After other calls of this driver."""
        time.sleep(seconds)

    @export(urgent=True)
    def off(self) -> None:
        """What must get through."""
        self._note("off")

    # a switch that shows whether its users are told apart

    @export
    def cycle(self, who: str) -> None:
        """Off, a moment, on: three steps that belong together."""
        for step in ("off", "wait", "on"):
            self._note(f"{who} {step}")
            time.sleep(0.02)
