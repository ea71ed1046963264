"""The log of a session: a bounded history in which each reader has a position of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from ..common.enums import LogSource
from ..common.limits import LOG_BYTES, LOG_LINES

MAX_LINE = 64 * 1024
"""Most characters of one line."""

_NOISE = ("grpc", "asyncio")

_ECHO = "exporter:"
"""What the loggers begin with to which a client in the same process writes this very history."""

_HOOKS = {"hook.beforeLease": LogSource.BEFORE_LEASE_HOOK, "hook.afterLease": LogSource.AFTER_LEASE_HOOK}


@dataclass(frozen=True)
class LogLine:
    """One record of the log."""

    severity: str
    message: str
    source: LogSource
    time: float
    """Seconds since the epoch."""


class LogHistory:
    """The newest lines of a session. Lines come from any thread; readers are tasks of an event loop."""

    def __init__(self, max_lines: int = LOG_LINES, max_bytes: int = LOG_BYTES) -> None:
        self._lines: deque[LogLine] = deque()
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._bytes = 0
        self._first = 0  # position of the oldest line that is still there
        self._closed = False
        self._lock = threading.Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def append(self, line: LogLine) -> None:
        """Add a line; the oldest ones make room for it."""
        with self._lock:
            self._lines.append(line)
            self._bytes += len(line.message)
            while len(self._lines) > self._max_lines or self._bytes > self._max_bytes:
                self._bytes -= len(self._lines.popleft().message)
                self._first += 1
        self._wake()

    def close(self) -> None:
        """Let every reader end after the lines that are there."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiters, self._waiters = self._waiters, []
        for loop, event in waiters:
            with suppress(RuntimeError):  # the loop has ended, and its readers with it
                loop.call_soon_threadsafe(event.set)  # lines come from threads that anyio knows nothing of

    def _since(self, position: int) -> tuple[list[LogLine], int, int, asyncio.Event | None]:
        """The lines from a position on, the next position, how many are lost, what to wait for if none is there."""
        with self._lock:
            lost = max(0, self._first - position)
            start = max(0, position - self._first)
            lines = [self._lines[i] for i in range(start, len(self._lines))]
            event = None
            if not lines and not self._closed:
                event = asyncio.Event()
                self._waiters.append((asyncio.get_running_loop(), event))
            return lines, self._first + len(self._lines), lost, event

    async def read(self) -> AsyncGenerator[LogLine]:
        """Every line that is there and every later one, until the history is closed.

        A reader that is so slow that lines had to go is told how many.
        """
        position = self._first
        while True:
            lines, position, lost, event = self._since(position)
            if lost:
                text = f"{lost} lines of log lost: this reader was too slow"
                yield LogLine("WARNING", text, LogSource.SYSTEM, time.time())
            for line in lines:
                yield line
            if event is not None:
                try:
                    await event.wait()
                finally:
                    with self._lock:
                        self._waiters = [waiter for waiter in self._waiters if waiter[1] is not event]
            elif not lines:
                return


def _is_wanted(record: logging.LogRecord) -> bool:
    """Whether a record is the session's own: not an echo of it, nor chatter of libraries."""
    if record.name.startswith(_ECHO):
        return False
    return record.levelno >= logging.WARNING or not record.name.startswith(_NOISE)


class LogHandler(logging.Handler):
    """Writes the process's records into the history of a session, but for gRPC's own chatter."""

    def __init__(self, history: LogHistory) -> None:
        super().__init__()
        self._history = history
        self.addFilter(_is_wanted)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception:  # noqa: BLE001 what logging does with a record that cannot be formatted
            self.handleError(record)
            return
        if len(message) > MAX_LINE:
            message = f"{message[:MAX_LINE]}… ({len(message) - MAX_LINE} more characters)"
        self._history.append(LogLine(record.levelname, message, _source(record.name), record.created))


def _source(logger: str) -> LogSource:
    """Who writes to the logger of that name."""
    if logger.startswith("driver."):
        return LogSource.DRIVER
    return _HOOKS.get(logger, LogSource.SYSTEM)
