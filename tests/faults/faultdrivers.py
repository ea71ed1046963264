"""Drivers that write down what really happens to them, in the exporter that the fault tests start."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio import CancelScope, EndOfStream, to_thread
from anyio.abc import ObjectStream
from anyio.streams.stapled import StapledObjectStream
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.common import create_memory_stream

TICK = 0.01


@dataclass(kw_only=True)
class Probe(Driver):
    """Methods of every kind, each of which notes in a file how it began and ended."""

    record: str
    """File that gets one line per event."""

    secret: str = "not for clients"

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def _note(self, event: str) -> None:
        with Path(self.record).open("a") as file:
            file.write(f"{event}\n")

    @contextmanager
    def _noted(self, what: str) -> Generator[None]:
        self._note(f"{what} began")
        try:
            yield
        except BaseException as e:
            self._note(f"{what} ended by {type(e).__name__}")
            raise
        self._note(f"{what} ended")

    def not_exported(self) -> str:
        return self.secret

    # what there is

    @export
    async def tasks(self) -> int:
        """How many tasks there are on the exporter's event loop."""
        return len(asyncio.all_tasks())

    @export
    def echo(self, value: Any) -> Any:
        """The argument."""
        return value

    @export
    def number(self, value: int) -> int:
        """The argument, which has to be a whole number."""
        return value

    # calls that take their time

    @export
    def sleep(self, seconds: float) -> None:
        """Wait in the driver's worker."""
        with self._noted("sleep"):
            time.sleep(seconds)

    @export
    async def sleep_async(self, seconds: float) -> None:
        """Wait on the event loop."""
        with self._noted("sleep_async"):
            await asyncio.sleep(seconds)

    @export
    def count(self, limit: int = 1_000_000, size: int = 0) -> Generator[str]:
        """Numbers, each followed by so many dots; notes how many there were."""
        self._note("count began")
        sent = 0
        try:
            for sent in range(limit):
                yield f"{sent}{'.' * size}"
                if not size:
                    time.sleep(TICK)
        finally:
            self._note(f"count ended after {sent}")

    @export
    def numbers(self, limit: int) -> Generator[int]:
        """Numbers at once."""
        yield from range(limit)

    @export
    async def count_async(self, limit: int = 1_000_000) -> AsyncGenerator[int]:
        """Numbers from the event loop."""
        with self._noted("count_async"):
            for i in range(limit):
                yield i
                await asyncio.sleep(TICK)

    # bytes

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """What the client sends comes back."""
        ours, theirs = create_memory_stream()
        with self._noted("connect"):
            async with ours, theirs:
                yield StapledObjectStream(ours, theirs)

    @export
    async def upload(self, file: Any) -> int:
        """Read a client's file to its end; returns its length."""
        length = 0
        with self._noted("upload"):
            async with self.resource(file) as stream:
                async for chunk in stream:
                    length += len(chunk)
        self._note(f"upload took {length}")
        return length

    # log

    @export
    def say(self, text: str, times: int = 1) -> None:
        """Write numbered lines to the log."""
        for i in range(times):
            self.logger.info("%s %d", text, i)


@dataclass(kw_only=True)
class Blocker(Driver):
    """Blocks for some seconds in each form that a driver's code has."""

    seconds: float

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._closing = False

    @export(concurrent=True)
    def is_closing(self) -> bool:
        """Whether a stream is being closed."""
        return self._closing

    @export
    def plain(self) -> None:
        time.sleep(self.seconds)

    @export
    async def waiting(self) -> None:
        await asyncio.sleep(self.seconds)

    @export
    async def blocking(self) -> None:
        time.sleep(self.seconds)  # noqa: ASYNC251 the fault

    @export
    def generator(self) -> Generator[int]:
        yield 1
        time.sleep(self.seconds)
        yield 2

    @export
    async def generator_async(self) -> AsyncGenerator[int]:
        yield 1
        await asyncio.sleep(self.seconds)
        yield 2

    @exportstream
    @asynccontextmanager
    async def slow_to_open(self) -> AsyncGenerator[ObjectStream[bytes]]:
        await to_thread.run_sync(time.sleep, self.seconds)
        ours, theirs = create_memory_stream()
        async with ours, theirs:
            yield StapledObjectStream(ours, theirs)

    @exportstream
    @asynccontextmanager
    async def slow_to_read(self) -> AsyncGenerator[ObjectStream[bytes]]:
        yield SlowDevice(self.seconds)

    @exportstream
    @asynccontextmanager
    async def slow_to_close(self) -> AsyncGenerator[ObjectStream[bytes]]:
        ours, theirs = create_memory_stream()
        async with ours, theirs:
            yield StapledObjectStream(ours, theirs)
        self._closing = True
        with CancelScope(shield=True):
            await to_thread.run_sync(time.sleep, self.seconds)
        self._closing = False


@dataclass(kw_only=True)
class Late(Driver):
    """Blocks when it is made, once its device is there."""

    device: str
    """A file."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        device = Path(self.device)
        if not device.exists():
            raise FileNotFoundError(f"{device} is not there")
        device.with_name("blocks").touch()
        while device.exists():
            time.sleep(0.1)


class SlowDevice(ObjectStream[bytes]):
    """A device that says nothing for a while, and then that there is nothing more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def receive(self) -> bytes:
        await to_thread.run_sync(time.sleep, self._seconds)
        raise EndOfStream

    async def send(self, item: bytes) -> None:
        pass

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass
