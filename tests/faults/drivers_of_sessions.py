"""A board that writes down what is done to it, and to which it happens that sessions end."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio.abc import ObjectStream
from anyio.streams.stapled import StapledObjectStream
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.common import create_memory_stream


@dataclass(kw_only=True)
class Board(Driver):
    """Handed back by switching it off."""

    release_default = "off"

    record: str
    """File that gets one line per event."""

    notes_close: bool = False

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def note(self, event: str) -> None:
        with Path(self.record).open("a") as file:
            file.write(f"{event}\n")

    def close(self) -> None:
        if self.notes_close:
            self.note("close")
        super().close()

    @contextmanager
    def noted(self, what: str) -> Generator[None]:
        self.note(f"{what} began")
        try:
            yield
        except BaseException as e:
            self.note(f"{what} ended by {type(e).__name__}")
            raise
        self.note(f"{what} ended")

    @export
    def on(self) -> None:
        self.note("on")

    @export(urgent=True)
    def off(self) -> None:
        self.note("off")

    @export(read_only=True)
    def look(self) -> int:
        """How often something happened."""
        return len(Path(self.record).read_text().splitlines()) if Path(self.record).exists() else 0

    @export
    def wait(self, seconds: float) -> None:
        with self.noted("wait"):
            time.sleep(seconds)

    @export
    async def wait_async(self, seconds: float) -> None:
        with self.noted("wait_async"):
            await asyncio.sleep(seconds)

    @export
    async def stubborn(self, seconds: float) -> None:
        """Wait, and take a cancellation for something else."""
        with self.noted("stubborn"):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                try:
                    await asyncio.sleep(0.1)
                except asyncio.CancelledError:
                    self.note("stubborn was cancelled")

    @export
    def count(self) -> Generator[int]:
        self.note("count began")
        try:
            for i in range(1_000_000):
                yield i
                time.sleep(0.01)
        finally:
            self.note("count ended")

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """What the client sends comes back."""
        ours, theirs = create_memory_stream()
        with self.noted("connect"):
            async with ours, theirs:
                yield StapledObjectStream(ours, theirs)
