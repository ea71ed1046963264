"""The record of a session: what was done with its devices, when and by whom, in a file that outlives the exporter.

The event loop only notes what happened; one thread makes lines of it. What the thread cannot keep up with, or the disk
does not take, is counted and lost: a record never holds up a call, or makes it fail.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from ..common.limits import RECORD_BYTES, RECORD_QUEUE
from ..common.records import records_dir
from .recordentries import Entry, Running
from .recordwriter import RecordWriter
from .redaction import MAX_TEXT, SLACK, Parameters, Secrets, shortened

logger = logging.getLogger(__name__)

BATCH = 0.02
"""Seconds in which entries gather before they are written."""

_CLOSE_TIMEOUT = 2.0


class Recorder:
    """The records of one exporter, of which one is open at a time; without a directory, none is kept.

    What happens while nobody has a session goes to the record of the one before, and of the one after it.
    """

    def __init__(
        self,
        exporter: str = "",
        *,
        directory: Path | None = None,
        secrets: Iterable[str] = (),
        size: int = RECORD_BYTES,
    ) -> None:
        self.exporter = exporter
        self.numbers: Iterator[int] = itertools.count(1)
        self.running: dict[int, Running] = {}
        self.secrets = Secrets(secrets)
        self._directory = directory
        self.size = size
        self._queue: queue.SimpleQueue[Entry | Running | None] = queue.SimpleQueue()
        self._parameters: dict[Any, Parameters] = {}
        self._overflow = 0
        self._overflow_lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        if directory is not None:
            writer = RecordWriter(self, directory)
            self._thread = threading.Thread(target=writer.run, name="record", daemon=True)
            self._thread.start()

    @classmethod
    def of(cls, exporter: str, secrets: Iterable[str] = ()) -> Recorder:
        """The records of an exporter where this user keeps them; none, with a warning, where there is no such place."""
        try:
            return cls(exporter, directory=records_dir(exporter), secrets=secrets)
        except OSError as e:
            logger.warning("no record is kept: %s", e)
            return cls(exporter)

    # what is recorded

    def begin(self, *, session: UUID | None = None, **who: Any) -> None:
        """A session begins; what is given tells whose."""
        self.event("session", event="begin", session=str(session or uuid4()), **who)

    def end(self, cause: str = "", **fields: Any) -> None:
        """The session ends, and its record with it."""
        self.event("session", event="end", cause=cause, **fields)

    def call(
        self, driver: str, method: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Running:
        """A call of a driver's method, which begins when the context is entered; `function` is that method's."""
        if self._thread is None:
            return Running(self, "call", driver, method)
        parameters = self._parameters.get(function)
        if parameters is None:
            parameters = self._parameters[function] = Parameters(function)
        if parameters.secret:
            parameters.hide((args, kwargs), self.secrets)
        return Running(self, "call", driver, method, parameters, shortened(args, kwargs))

    def stream(self, driver: str, method: str) -> Running:
        """A byte stream of a driver is opened."""
        stream = Running(self, "stream", driver, method)
        self.event("stream", id=stream.number, driver=driver, method=method, event="open")
        return stream

    def event(self, kind: str, **fields: Any) -> None:
        """Something of another kind: `state` of a driver, `hook`, … with what there is to say of it.

        Values are texts, numbers, and lists and mappings of those; they are used later, so they must not change.
        """
        if self._thread is not None:
            self.put(Entry(kind, fields))

    def log(self, message: str, **fields: Any) -> None:
        """A line of the log."""
        if self._thread is not None:
            if len(message) > MAX_TEXT + SLACK:
                message = message[: MAX_TEXT + SLACK + 1]
            self.put(Entry("log", {**fields, "message": message}))

    def put(self, entry: Entry | Running) -> None:
        """Hand an entry to the thread, unless too many wait already; begin and end of a session are never too many."""
        if self._thread is None:
            return
        if self._queue.qsize() >= RECORD_QUEUE and entry.kind != "session":
            with self._overflow_lock:
                self._overflow += 1
            return
        self._queue.put(entry)

    def close(self) -> None:
        """Write what waits, for a bounded time, and keep no record any more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ending.set()
            self._queue.put(None)
            thread.join(_CLOSE_TIMEOUT)

    # for the thread

    def take(self, timeout: float) -> tuple[list[Entry | Running], bool]:
        """The entries that wait, after some time to gather; and whether they are the last ones."""
        batch: list[Entry | Running | None] = []
        try:
            batch.append(self._queue.get(timeout=timeout))
            self._ending.wait(BATCH)
            for _ in range(min(self._queue.qsize(), RECORD_QUEUE)):
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return [entry for entry in batch if entry is not None], None in batch

    def overflowed(self) -> int:
        """How many entries found no place since this was last asked."""
        with self._overflow_lock:
            count, self._overflow = self._overflow, 0
        return count
