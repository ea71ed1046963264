"""The records of sessions that exporters of this user have written: where they are, and what is in them.

A record is a file of lines, each a JSON object with `time` (UTC), `mono` (seconds of the monotonic clock) and `kind`.
Its writer holds an flock on it. The older part of a long one is beside it, with the suffix EARLIER.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from .state import file_name, state_dir

SUFFIX = ".jsonl"
EARLIER = ".jsonl.1"

Entry = dict[str, Any]

_POLL = 0.1
_END = 16 * 1024
"""Bytes at the end of a record in which the end of its session mostly is."""


def records_dir(exporter: str | None = None) -> Path:
    """Where the records of an exporter are; of all of them, one directory each, without a name."""
    base = state_dir() / "records"
    return base / file_name(exporter) if exporter is not None else base


def find_records(exporter: str | None = None) -> list[Record]:
    """The records of one exporter or of all, oldest first."""
    try:
        directories = [records_dir(exporter)] if exporter is not None else sorted(records_dir().iterdir())
    except OSError:
        return []
    found = [Record(path) for directory in directories for path in directory.glob(f"*{SUFFIX}")]
    return sorted(found, key=lambda record: (record.path.name, record.path.parent))


@dataclass(frozen=True)
class Record:
    """One record, which may still be written."""

    path: Path

    @property
    def id(self) -> str:
        """What it is called: when it began, and a part of the session's uuid."""
        return self.path.name.removesuffix(SUFFIX)

    @property
    def earlier(self) -> Path:
        """The older part of a long record, if there is one."""
        return self.path.with_name(self.id + EARLIER)

    @property
    def is_live(self) -> bool:
        """Whether somebody is writing it; while the newer part is made, the older one has the lock."""
        return _is_locked(self.path) or (not self.path.exists() and _is_locked(self.earlier))

    @property
    def size(self) -> int:
        """Bytes on the disk, both parts together."""
        total = 0
        for path in (self.path, self.earlier):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    @cached_property
    def head(self) -> Entry:
        """What its first line says: exporter, process, version of the format."""
        for entry in self.entries():
            if entry.get("kind") == "record":
                return entry
        return {}

    @cached_property
    def begin(self) -> Entry:
        """Who began the session and when; the head where nobody has."""
        for number, entry in enumerate(self.entries()):
            if is_event(entry, "begin"):
                return entry
            if number > 1000:
                break
        return self.head

    @cached_property
    def end(self) -> Entry | None:
        """How the session ended, with what was counted; None where it goes on, or its exporter was killed."""
        with suppress(OSError):
            content = self.path.read_bytes()
            for part in (content[-_END:], content):
                for line in reversed(part.split(b"\n")):
                    if b'"session"' in line and (entry := _parsed(line)) is not None and is_event(entry, "end"):
                        return entry
        return None

    def entries(self) -> Iterator[Entry]:
        """Every entry; a line that is not whole, as a killed exporter may leave one, is passed over."""
        for path in (self.earlier, self.path):
            yield from _entries_of(path)

    def follow(self) -> Generator[Entry | None]:
        """Every entry, and those to come, until the record is complete; None whenever there is none for now."""
        yield from _entries_of(self.earlier)
        file = self.path.open("rb")
        turned: Any = None
        try:
            rest = b""
            while True:
                live = self.is_live  # asked before reading: what is written until then is read
                rest += file.read()
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if (entry := _parsed(line)) is not None:
                        yield entry
                if lines:
                    continue
                if turned is not None:  # and everything of the part before it is read
                    file.close()
                    file, rest, turned = turned, b"", None
                elif (turned := self._newer(file.fileno())) is None and not live:
                    return
                elif turned is None and os.fstat(file.fileno()).st_size < file.tell():
                    file.seek(0)  # it was begun anew, for want of a place for its older part
                    rest = b""
                elif turned is None:
                    yield None
                    time.sleep(_POLL)
        finally:
            file.close()
            if turned is not None:
                turned.close()

    def _newer(self, fd: int) -> Any:
        """The file that has taken the place of an open one, which became the older part."""
        with suppress(OSError):
            if not os.path.samestat(os.fstat(fd), self.path.stat()):
                return self.path.open("rb")
        return None


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def is_event(entry: Entry, event: str) -> bool:
    """Whether an entry is the begin or the end of a session."""
    return entry.get("kind") == "session" and entry.get("event") == event


def _entries_of(path: Path) -> Iterator[Entry]:
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            if (entry := _parsed(line)) is not None:
                yield entry


def _parsed(line: bytes) -> Entry | None:
    """The entry of a line, None if it is not a whole one."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return cast("Entry", entry) if isinstance(entry, dict) else None
