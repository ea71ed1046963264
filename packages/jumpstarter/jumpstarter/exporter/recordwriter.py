"""The thread that writes the records of an exporter, session after session."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from .recordentries import Entry, Running
from .recordfile import RecordFile
from .recordlines import Lines
from .redaction import Secrets

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the format, which grows by keys and kinds that readers pass over."""

LONG_CALL = 1.0
"""Seconds after which a call that is still running is written down."""

_ANNOUNCE = 600.0
"""Seconds between two warnings that the disk does not take the record."""

_BETWEEN = 200
"""Entries since the last session that the record of the next one has, too."""

_PORTION = 16
"""Entries that are formatted before others may run."""

_monotonic = time.monotonic


class Source(Protocol):
    """Where entries come from."""

    exporter: str
    secrets: Secrets
    size: int
    running: dict[int, Running]

    def take(self, timeout: float) -> tuple[list[Entry | Running], bool]: ...
    def overflowed(self) -> int: ...


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


class RecordWriter:
    """Writes the records of an exporter, a session each: what the thread of a `Recorder` runs."""

    def __init__(self, record: Source, directory: Path) -> None:
        self._record = record
        self._directory = directory
        self._lines = Lines(record.secrets)
        self._file: RecordFile | None = None
        self._begin: Entry | None = None
        self._between: deque[bytes] | None = deque(maxlen=_BETWEEN)
        """What happened since the last session; None during one."""
        self._counts = _Counts(_monotonic())
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
        self._lines.set_clock()
        lines: list[bytes] = []
        for number, entry in enumerate(batch):
            if number % _PORTION == _PORTION - 1:
                time.sleep(1e-5)  # so that the event loop need not fight for the interpreter
            if isinstance(entry, Entry) and entry.kind == "session":
                self._flush(lines)
                if entry.fields["event"] == "begin":
                    self._start(entry)
                else:
                    self._finish(entry)
                continue
            if isinstance(entry, Running):
                self._counts.add(entry)
            lines.append(self._lines.of(entry))
        long_ago = _monotonic() - LONG_CALL
        for entry in list(self._record.running.values()):
            if not entry.told and entry.mono < long_ago and entry.kind == "call":
                entry.told = True
                lines.append(self._lines.of(entry))
        self._flush(lines)

    def _flush(self, lines: list[bytes]) -> None:
        overflow = self._record.overflowed()
        if not lines and not overflow:
            return
        file = self._current(None)
        if overflow:
            file.lost += overflow
            lines.insert(
                0, self._lines.of(Entry("lost", {"entries": overflow, "why": "more came than could be written"}))
            )
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
        self._current(begin).write([self._lines.of(begin)])
        self._begin, self._counts = begin, _Counts(begin.mono)

    def _file_done(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._begin = None

    def _finish(self, entry: Entry) -> None:
        """Write the end of the session, with what was counted."""
        file, counts = self._current(None), self._counts
        entry.fields |= {
            "seconds": round(entry.mono - counts.began, 6),
            "calls": counts.calls,
            "failed": counts.failed,
            "streams": counts.streams,
            "lost": file.lost,
        }
        file.write([self._lines.of(entry)])
        self._between = deque(maxlen=_BETWEEN)

    def _current(self, begin: Entry | None) -> RecordFile:
        """The file that is written, a new one after the end of the one before."""
        if self._file is None:
            session = str(begin.fields["session"]) if begin is not None else str(uuid4())
            now = time.time()
            stamp = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
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
        return [self._lines.of(head), *([self._lines.of(self._begin)] if self._begin is not None else [])]

    def _failed(self, error: OSError) -> None:
        """Say that the disk does not take the record, but not again and again."""
        if _monotonic() - self._announced < _ANNOUNCE:
            return
        self._announced = _monotonic()
        reason = f"{self._directory}: {error.strerror or error}"
        logger.warning("the session's record cannot be written in %s; devices work on, entries are lost", reason)
