"""The log of a session: a bounded history in which each reader has a position of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from ..common.changes import Changes
from ..common.enums import LogSource
from ..common.limits import LOG_BYTES, LOG_LINES
from ..common.text import HIDDEN, redacted
from ..driver.base import Driver
from ..driver.calls import running
from ..driver.log import author_of
from .redaction import is_secret_name

if TYPE_CHECKING:
    from .session import Session

MAX_LINE = 64 * 1024
"""Most characters of one line."""

MAX_FIELDS, MAX_FIELD_NAME, MAX_FIELD = 16, 64, 256
"""Most structured fields of one line, and most characters of a name and of a value."""

_NOISE = ("grpc", "asyncio")

_ECHO = "exporter:"
"""What the loggers begin with to which a client in the same process writes this very history."""

_SOURCES = {
    "driver": LogSource.DRIVER,
    "hook.beforeLease": LogSource.BEFORE_LEASE_HOOK,
    "hook.afterLease": LogSource.AFTER_LEASE_HOOK,
}
"""Who writes to loggers of these names, and to those below them, in every session."""


@dataclass(frozen=True)
class LogLine:
    """One record of the log."""

    severity: str
    message: str
    source: LogSource
    time: float
    """Seconds since the epoch."""

    driver: Driver | None = None
    """The instance that wrote it, or on whose behalf it was written."""

    operation: str | None = None
    """The exported method that was running."""

    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the record had in `extra`."""


class LogHistory:
    """The newest lines of a session. Lines come from any thread; readers are tasks of an event loop."""

    def __init__(
        self,
        max_lines: int = LOG_LINES,
        max_bytes: int = LOG_BYTES,
        listener: Callable[[LogLine], None] | None = None,
    ) -> None:
        self._listener = listener
        self._lines: deque[LogLine] = deque()
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._bytes = 0
        self._first = 0  # position of the oldest line that is still there
        self._closed = False
        self._lock = threading.Lock()
        self._changes = Changes()

    def append(self, line: LogLine) -> None:
        """Add a line; the oldest ones make room for it. It goes to the listener, too."""
        if self._listener is not None:
            self._listener(line)
        with self._lock:
            self._lines.append(line)
            self._bytes += len(line.message)
            while len(self._lines) > self._max_lines or self._bytes > self._max_bytes:
                self._bytes -= len(self._lines.popleft().message)
                self._first += 1
        self._changes.notify()

    def close(self) -> None:
        """Let every reader end after the lines that are there."""
        self._closed = True
        self._changes.notify()

    def _since(self, position: int) -> tuple[list[LogLine], int, int] | None:
        """The lines from a position on, the next position, how many are lost; None while there is nothing to read."""
        with self._lock:
            lost = max(0, self._first - position)
            start = max(0, position - self._first)
            lines = [self._lines[i] for i in range(start, len(self._lines))]
            if not lines and not self._closed:
                return None
            return lines, self._first + len(self._lines), lost

    async def read(self) -> AsyncGenerator[LogLine]:
        """Every line that is there and every later one, until the history is closed.

        A reader that is so slow that lines had to go is told how many.
        """
        position = self._first
        while True:
            found = await self._changes.until(partial(self._since, position))
            assert found is not None
            lines, position, lost = found
            if lost:
                text = f"{lost} lines of log lost: this reader was too slow"
                yield LogLine("WARNING", text, LogSource.SYSTEM, time.time())
            for line in lines:
                yield line
            if not lines:
                return


def _is_wanted(record: logging.LogRecord) -> bool:
    """Whether a record is the session's own: not an echo of it, nor chatter of libraries."""
    if record.name.startswith(_ECHO):
        return False
    return record.levelno >= logging.WARNING or not record.name.startswith(_NOISE)


_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that every record has."""


def driver_type(driver: Driver) -> str:
    """What a driver's lines say of its type: what its class says of itself, by default its name."""
    declared: object = getattr(type(driver), "driver_type", None)
    return declared if isinstance(declared, str) else type(driver).__name__


_handlers: WeakSet[LogHandler] = WeakSet()


class LogHandler(logging.Handler):
    """Writes the process's records into the history of a session, but for gRPC's own chatter.

    What drivers of another session in this process write is not this one's.
    """

    def __init__(self, history: LogHistory, has: Callable[[Driver], bool] | None = None) -> None:
        super().__init__()
        self._history = history
        self._has = has
        self.sources = dict[str, LogSource]()
        """Who writes to loggers of these names, and to those below them, beside those that are known anyway."""
        self.addFilter(_is_wanted)
        _handlers.add(self)

    def has(self, driver: Driver) -> bool:
        """Whether a driver is the session's."""
        return self._has is None or self._has(driver)

    def emit(self, record: logging.LogRecord) -> None:
        call = running.get()
        driver = author_of(record) or (cast("Driver", call.driver) if call is not None else None)
        if driver is not None and not self.has(driver) and any(other.has(driver) for other in list(_handlers)):
            return
        try:
            message = self.format(record)
        except Exception:  # noqa: BLE001 what logging does with a record that cannot be formatted
            self.handleError(record)
            return
        if len(message) > MAX_LINE:
            message = f"{message[:MAX_LINE]}… ({len(message) - MAX_LINE} more characters)"
        line = LogLine(
            record.levelname,
            redacted(message),
            self._source(record.name),
            record.created,
            driver,
            call.method if call is not None else None,
            _extra(record),
        )
        self._history.append(line)

    def _source(self, logger: str) -> LogSource:
        """Who writes to the logger of that name."""
        sources = {**_SOURCES, **self.sources} if self.sources else _SOURCES
        while logger:
            if (source := sources.get(logger)) is not None:
                return source
            logger = logger.rpartition(".")[0]
        return LogSource.SYSTEM


def get_logger(name: str, source: LogSource = LogSource.SYSTEM, session: Session | None = None) -> logging.Logger:
    """The logger of that name, whose lines clients see as of that source: of one session, or of all."""
    if session is not None:
        session.add_logger_source(name, source)
    else:
        _SOURCES[name] = source
    return logging.getLogger(name)


def _extra(record: logging.LogRecord) -> Mapping[str, str]:
    """The attributes that a record got by `extra`, as texts of bounded size."""
    names = [name for name in vars(record) if name not in _ORDINARY and not name.startswith("_")]
    return {name[:MAX_FIELD_NAME]: _field(name, getattr(record, name)) for name in names[:MAX_FIELDS]}


def _field(name: str, value: object) -> str:
    try:
        text = str(value)[: 2 * MAX_FIELD]
    except Exception as e:  # noqa: BLE001 an object of a driver's can raise anything
        text = f"({type(e).__name__})"
    return HIDDEN if is_secret_name(name) else redacted(text)[:MAX_FIELD]
