"""Drivers that end their process, or show which one they run in."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from queue import Queue
from typing import Any

from anyio import sleep
from anyio.abc import ObjectStream
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.common import create_memory_stream


@dataclass(kw_only=True)
class Lamp(Driver):
    """Below another one."""

    @export
    def process(self) -> int:
        return os.getpid()


@dataclass(kw_only=True)
class Pipe(Driver):
    """One call waits for what another one brings, as drivers of the public release may."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.given = Queue[str]()

    @export
    def get(self) -> str:
        return self.given.get(timeout=20)

    @export
    async def get_async(self) -> str:
        while True:
            await sleep(0.01)
            if not self.given.empty():
                return self.given.get()

    @export
    def items(self) -> Iterator[str]:
        yield self.given.get(timeout=20)

    @export
    def put(self, text: str) -> None:
        self.given.put(text)


@dataclass(kw_only=True)
class Crasher(Driver):
    """Does what is asked, and dies when that is asked."""

    log: str = ""
    level: int = 3
    fails: str = ""
    slow: str = ""
    """A file; where there is one, being made takes a minute."""
    share: float = 1.0
    since: date | None = None
    lit: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fails:
            raise {"absent": FileNotFoundError, "wrong": ValueError}[self.fails](f"it is {self.fails}")
        if self.slow and Path(self.slow).exists():
            self._note("waits")
            time.sleep(60)
        self.children["lamp"] = Lamp()
        self._note("made")

    def _note(self, what: str) -> None:
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{what}\n")

    def reset(self) -> None:
        self._note("reset")
        if self.lit:
            raise OSError(5, "Input/output error")
        super().reset()

    def close(self) -> None:
        self._note("close")
        super().close()

    def release(self) -> None:
        self._note("release")

    @export
    def process(self) -> int:
        return os.getpid()

    @export
    def settings(self) -> tuple[float, date | None]:
        return self.share, self.since

    @export
    def spoil(self) -> None:
        self.lit = True

    @export
    def environment(self) -> list[str]:
        return sorted(os.environ)

    @export
    async def later(self, period: timedelta, by: int = 2) -> timedelta:
        self.logger.warning("later by %d", by)
        return by * period

    @export
    def count(self, n: int) -> Generator[int]:
        yield from range(n)

    @export
    async def size(self, source: Any) -> int:
        total = 0
        async with self.resource(source) as stream:
            async for chunk in stream:
                total += len(chunk)
        return total

    @export
    def refuse(self) -> None:
        raise ValueError("not today")

    @export
    def wait(self) -> None:
        time.sleep(60)

    @export
    async def block(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 the fault

    @export
    def segfault(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)

    @export
    def exit(self, status: int) -> None:
        os._exit(status)

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        near, far = create_memory_stream()
        async with near, far:
            await near.send(b"from process %d" % os.getpid())
            yield far
