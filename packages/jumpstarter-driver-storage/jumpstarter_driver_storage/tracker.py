"""How far a transfer has come: written by whoever moves bytes, read by whoever wants to know."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager

from anyio import sleep

from .common import Progress, Stage, StageResult

INTERVAL = 0.2
"""Seconds between two looks at a transfer."""


class Tracker:
    """The stages of one transfer; any thread may count, one after the other."""

    def __init__(self, note: Callable[[Stage, StageResult], None] = lambda stage, result: None) -> None:
        """`note` is told of each stage that has come to its end."""
        self._note = note
        self.began = time.monotonic()
        self.stage = Stage.PREPARE
        self.done = 0
        self.total: int | None = None
        self.results: dict[str, StageResult] = {}
        self.is_over = False
        self._since = self.began

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    @contextmanager
    def during(self, stage: Stage, total: int | None = None) -> Generator[None]:
        """A stage, whose bytes are counted by `count`."""
        self.stage, self.done, self.total, self._since = stage, 0, total, time.monotonic()
        yield
        result = self.results[stage.value] = StageResult(bytes=self.done, seconds=time.monotonic() - self._since)
        self._note(stage, result)

    def count(self, size: int) -> None:
        """So many more bytes of this stage are done."""
        self.done += size

    def now(self) -> Progress:
        """How far it is."""
        elapsed = time.monotonic() - self._since
        rate = self.done / elapsed if elapsed > 0 else 0.0
        return Progress(stage=self.stage, done=self.done, total=self.total, rate=rate)

    async def follow(self) -> AsyncGenerator[Progress]:
        """How far it is, whenever that has changed, until the transfer is over."""
        last: tuple[Stage, int] | None = None
        while not self.is_over:
            if (self.stage, self.done) != last:
                last = self.stage, self.done
                yield self.now()
            await sleep(INTERVAL)
