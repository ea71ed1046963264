"""The record of a session: what was done with its devices, when and by whom, in a file that outlives the exporter.

The event loop only notes what happened; one thread makes lines of it. What the thread cannot keep up with, or the disk
does not take, is counted and lost: a record never holds up a call, or makes it fail.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from ..common.limits import RECORD_BYTES, RECORD_QUEUE
from ..common.records import records_dir
from .recordfile import RecordFile
from .redaction import MAX_TEXT, SLACK, Parameters, Secrets, Values, shortened

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the format, which grows by keys and kinds that readers pass over."""

BATCH = 0.02
"""Seconds in which entries gather before they are written."""

LONG_CALL = 1.0
"""Seconds after which a call or stream that is still running is written down."""

_ANNOUNCE = 600.0
"""Seconds between two warnings that the disk does not take the record."""

_CLOSE_TIMEOUT = 2.0
_BETWEEN = 200
"""Entries since the last session that the record of the next one has, too."""

_PORTION = 16
"""Entries that the thread formats before it lets others run."""

_monotonic = time.monotonic


class Entry:
    """Something that happened, to be made a line by the thread."""

    __slots__ = ("fields", "kind", "mono")

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        self.mono = _monotonic()
        self.kind = kind
        self.fields = fields


class Running:
    """A call or stream from its begin to its end: a context, whose end says how it ended."""

    __slots__ = (
        "_record",
        "driver",
        "error",
        "function",
        "items",
        "kind",
        "method",
        "mono",
        "number",
        "outcome",
        "received",
        "seconds",
        "sent",
        "told",
        "values",
    )

    def __init__(
        self, record: Recorder, kind: str, driver: str, method: str, function: Any = None, values: Values | None = None
    ) -> None:
        self._record = record
        self.kind = kind
        self.driver = driver
        self.method = method
        self.function = function
        self.values = values
        self.items: int | None = None
        """Of a streamed call: how many items the client was sent."""
        self.received: int | None = None
        """Of a byte stream: bytes from the client."""
        self.sent: int | None = None
        """Of a byte stream: bytes to the client."""
        self.outcome: str | None = None
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.told = False
        """Whether it was written down while it went on."""
        self.number = next(record.numbers)
        self.mono = 0.0

    def __enter__(self) -> Running:
        self.mono = _monotonic()
        self._record.running[self.number] = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.seconds = _monotonic() - self.mono
        if kind is None:
            self.outcome = self.outcome or "ok"
        elif issubclass(kind, Exception | SystemExit | KeyboardInterrupt):
            self.outcome, self.error = "failed", error
        else:  # what ends coroutines, generators and threads from outside
            self.outcome = "cancelled"
        record = self._record
        del record.running[self.number]
        record.put(self)

    def refused(self, error: BaseException) -> None:
        """It does not even begin."""
        self.mono = _monotonic()
        self.outcome, self.error = "failed", error
        self._record.put(self)


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
        self.numbers = itertools.count(1)
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
            writer = _Writer(self, directory)
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
        """Hand an entry to the thread, unless too many wait already."""
        if self._thread is None:
            return
        if self._queue.qsize() >= RECORD_QUEUE:
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


class _Counts:
    """What the end of a session's record says of the whole."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.calls = self.failed = self.streams = 0

    def add(self, entry: Running) -> None:
        if entry.kind == "stream":
            self.streams += 1
        else:
            self.calls += 1
            self.failed += entry.outcome == "failed"


class _Writer:
    """Makes lines of entries and writes them: the record's thread."""

    def __init__(self, record: Recorder, directory: Path) -> None:
        self._record = record
        self._directory = directory
        self._secrets = record.secrets
        self._file: RecordFile | None = None
        self._begin: Entry | None = None
        self._between: deque[bytes] | None = deque(maxlen=_BETWEEN)
        """What happened since the last session; None during one."""
        self._counts = _Counts(_monotonic())
        self._offset = 0.0
        self._second, self._second_text = -1, ""
        self._announced = -_ANNOUNCE

    def run(self) -> None:
        """Write until the record is closed."""
        last = False
        while not last:
            batch, last = self._record.take(LONG_CALL)
            try:
                self._write(batch)
            except Exception:
                logger.exception("entries of the record are lost")
        self._file_done()

    def _write(self, batch: list[Entry | Running]) -> None:
        self._offset = time.time() - _monotonic()
        lines: list[bytes] = []
        for number, entry in enumerate(batch):
            if number % _PORTION == _PORTION - 1:
                time.sleep(1e-5)  # so that the event loop need not fight for the interpreter
            if isinstance(entry, Running):
                self._counts.add(entry)
                lines.append(self._running_line(entry))
            elif entry.kind == "session" and entry.fields["event"] == "begin":
                self._flush(lines)
                self._start(entry)
            elif entry.kind == "session":
                self._finish(entry, lines)
            else:
                lines.append(self._line(entry))
        long_ago = _monotonic() - LONG_CALL
        for entry in list(self._record.running.values()):
            if not entry.told and entry.mono < long_ago and entry.kind == "call":
                entry.told = True
                lines.append(self._running_line(entry))
        self._flush(lines)

    def _flush(self, lines: list[bytes]) -> None:
        overflow = self._record.overflowed()
        if not lines and not overflow:
            return
        file = self._current(None)
        if overflow:
            file.lost += overflow
            lines.insert(0, self._line(Entry("lost", {"entries": overflow, "why": "more came than could be written"})))
        if self._between is not None:
            self._between += lines
        file.write(lines)
        lines.clear()

    def _start(self, begin: Entry) -> None:
        """Begin the record of a session, with what happened since the end of the one before."""
        before, self._between = self._between, None
        if self._begin is not None:  # the file is that of a session
            self._file_done()
            self._current(begin).write(list(before or ()))
        self._current(begin).write([self._line(begin)])
        self._begin, self._counts = begin, _Counts(begin.mono)

    def _file_done(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._begin = None

    def _finish(self, entry: Entry, lines: list[bytes]) -> None:
        """Write the end of the session, with what was counted."""
        overflow = self._record.overflowed()
        file = self._current(None)
        file.lost += overflow
        counts = self._counts
        entry.fields |= {
            "seconds": round(entry.mono - counts.began, 6),
            "calls": counts.calls,
            "failed": counts.failed,
            "streams": counts.streams,
            "lost": file.lost,
        }
        file.write([*lines, self._line(entry)])
        lines.clear()
        self._between = deque(maxlen=_BETWEEN)

    def _current(self, begin: Entry | None) -> RecordFile:
        """The file that is written, a new one after the end of the one before."""
        if self._file is None:
            session = str(begin.fields["session"]) if begin is not None else str(uuid4())
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            self._file = RecordFile(
                self._directory, f"{stamp}-{session[:8]}", self._header, self._record.size, self._failed
            )
        return self._file

    def _header(self, lost: int) -> list[bytes]:
        """The first lines of a part of the file."""
        head = Entry(
            "record",
            {
                "version": VERSION,
                "exporter": self._record.exporter,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "lost": lost,
            },
        )
        return [self._line(head), *([self._line(self._begin)] if self._begin is not None else [])]

    def _failed(self, error: OSError) -> None:
        """Say that the disk does not take the record, but not again and again."""
        if _monotonic() - self._announced < _ANNOUNCE:
            return
        self._announced = _monotonic()
        reason = f"{self._directory}: {error.strerror or error}"
        logger.warning("the session's record cannot be written in %s; devices work on, entries are lost", reason)

    # lines

    def _head(self, mono: float, kind: str) -> str:
        wall = mono + self._offset
        second = int(wall)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f'{{"time":"{self._second_text}.{int((wall - second) * 1e6):06d}Z","mono":{mono:.6f},"kind":"{kind}"'

    def _line(self, entry: Entry) -> bytes:
        body = json.dumps(self._secrets.clean_value(entry.fields), separators=(",", ":"))
        return f"{self._head(entry.mono, entry.kind)}{',' if len(body) > 2 else ''}{body[1:]}\n".encode()

    def _running_line(self, entry: Running) -> bytes:
        if entry.kind == "stream":  # whose begin has a line of its own
            parts = [self._head(entry.mono + entry.seconds, "stream"), f'"id":{entry.number},"event":"close"']
        else:
            parts = [self._head(entry.mono, entry.kind), f'"id":{entry.number}']
        parts.append(f'"driver":{_quoted(entry.driver)},"method":{_quoted(self._secrets.clean(entry.method, 200))}')
        if entry.function is not None:
            parts.append(self._arguments(entry))
        if entry.outcome is None:
            parts.append('"outcome":"running"')
        else:
            parts.append(f'"seconds":{entry.seconds:.6f},"outcome":"{entry.outcome}"')
        for name, number in (("items", entry.items), ("received", entry.received), ("sent", entry.sent)):
            if number is not None:
                parts.append(f'"{name}":{number}')
        if entry.error is not None:
            parts.append(f'"error":{_quoted(self._secrets.clean(error_text(entry.error)))}')
        return f"{','.join(filter(None, parts))}}}\n".encode()

    def _arguments(self, entry: Running) -> str:
        """The arguments by name, if there are any."""
        if entry.values is None or not any(entry.values):
            return ""
        try:
            shown = entry.function.shown(entry.values, self._secrets)
        except Exception as e:  # noqa: BLE001 annotations of drivers can be anything
            shown = f"… {type(e).__name__}"
        return f'"args":{json.dumps(shown, separators=(",", ":"))}'


def error_text(error: BaseException) -> str:
    """What a failure says, in one text: the error's class, its message and its notes."""
    message = "; ".join([str(error), *getattr(error, "__notes__", ())])[: MAX_TEXT + SLACK + 1]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


_quoted = encode_basestring_ascii
