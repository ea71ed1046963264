"""What a console has said: bytes with offsets and times, and what happened between them.

The newest part is in memory, and all of it in a log where there is one. Every reader has a place of its own.
"""

import bisect
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jumpstarter.common.changes import Changes

from .items import Data, Dropped, Event, Item

BLOCK = 64 * 1024
"""Bytes of one block of memory; all but the last are full."""

MIN_MEMORY = 16 * BLOCK
"""Half of it, where the port is held up, and one read more must fit beside a block that is given up."""

MAX_EVENTS = 4096
MAX_TIMES = 65536
TICK = 0.001
"""Seconds within which bytes share a time."""

LOG_PATIENCE = 5.0
"""Seconds that the port waits for a log that is too slow, before bytes are left out of it."""


def clock() -> float:
    """Seconds since the epoch, by a clock that never jumps."""
    return _EPOCH + time.monotonic()


_EPOCH = time.time() - time.monotonic()


@dataclass(frozen=True, slots=True)
class Behind:
    """The next bytes are in the log only, and reading a file takes time."""


BEHIND = Behind()


class Archive(Protocol):
    """Where bytes are that memory does not hold any more."""

    written: int
    """Offset of the first byte that it does not have yet."""

    def hurry(self) -> None:
        """Write what there is, at once."""
        ...

    def read(self, offset: int, most: int) -> bytes:
        """Bytes from an offset on; nothing where they are not there."""
        ...

    def next(self, offset: int) -> int | None:
        """The first offset from there on that can be read."""
        ...


class History:
    """The bytes and events of one console. One thread adds, any thread or task reads."""

    def __init__(self, memory: int) -> None:
        self.end = 0
        """Offset of the next byte."""
        self.floor = 0
        """Offset of the first byte that readers may have."""
        self.changes = Changes()
        self.archive: Archive | None = None
        self._memory = max(memory, MIN_MEMORY)
        self._lock = threading.Lock()
        self._blocks: deque[bytearray] = deque()
        self.memory_begin = 0
        """Offset of the first byte in memory."""
        self._times: list[tuple[int, float]] = []
        self._events: deque[Event] = deque()
        self.first_event = 0
        """Number of the oldest event that is still there."""

    # adding

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes that came just now. Waits for a log that is about to be overtaken."""
        now = clock()
        if self.is_pressed:
            self.changes.wait_for(lambda: not self.is_pressed, LOG_PATIENCE)
        with self._lock:
            if not self._times or now - self._times[-1][1] >= TICK:
                self._times.append((self.end, now))
                if len(self._times) > MAX_TIMES:  # the older half becomes coarser
                    self._times[: MAX_TIMES // 2] = self._times[: MAX_TIMES // 2 : 2]
            self._store(data)
            self.end += len(data)
        self.changes.notify()

    @property
    def is_pressed(self) -> bool:
        """Whether the log is about to be overtaken by what comes."""
        archive = self.archive
        if archive is None or (behind := self.end - archive.written) < self._memory // 4:
            return False
        archive.hurry()
        return behind > self._memory // 2

    def happened(self, kind: str, text: str) -> Event:
        """Add an event that happened just now."""
        with self._lock:
            event = Event(self.end, clock(), kind, text)
            self._events.append(event)
            if len(self._events) > MAX_EVENTS:
                self._events.popleft()
                self.first_event += 1
        self.changes.notify()
        return event

    def _store(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            if not self._blocks or len(self._blocks[-1]) == BLOCK:
                self._blocks.append(bytearray())
            part = rest[: BLOCK - len(self._blocks[-1])]
            self._blocks[-1] += part
            rest = rest[len(part) :]
        while len(self._blocks) * BLOCK > self._memory:
            self._blocks.popleft()
            self.memory_begin += BLOCK

    # looking up

    def offset_at(self, moment: float) -> int:
        """The offset of the first byte that came at that time or later, in seconds since the epoch."""
        with self._lock:
            index = bisect.bisect_left(self._times, moment, key=lambda entry: entry[1])
            return self._times[index][0] if index < len(self._times) else self.end

    def time_of(self, offset: int) -> float:
        """When the byte at an offset came."""
        index = bisect.bisect_right(self._times, offset, key=lambda entry: entry[0]) - 1
        return self._times[index][1] if index >= 0 else clock()

    def newest(self, wanted: Callable[[Event], bool]) -> Event | None:
        """The last event of a kind that readers may still have."""
        with self._lock:
            return next((e for e in reversed(self._events) if e.offset >= self.floor and wanted(e)), None)

    def begin(self) -> int:
        """The first offset that can be read."""
        with self._lock:
            archive, begin = self.archive, max(self.memory_begin, self.floor)
        if archive is not None and (kept := archive.next(self.floor)) is not None:
            return min(begin, kept)
        return begin

    # reading

    def reader(self, offset: int | None = None) -> "Reader":
        """A place that begins at an offset, or with what comes from now on."""
        with self._lock:
            count = self.first_event + len(self._events)
            if offset is None:
                return Reader(self, self.end, count)
            offset = min(max(offset, self.floor), self.end)
            older = sum(1 for event in self._events if event.offset < offset)
            return Reader(self, offset, self.first_event + older)

    def item(self, offset: int, event: int, most: int, *, files: bool) -> Item | Behind | None:
        """What comes at a place: bytes, an event or a gap; None where nothing has come yet."""
        with self._lock:
            event = max(event, self.first_event)
            index = event - self.first_event
            upcoming = self._events[index] if index < len(self._events) else None
            limit = self.end if upcoming is None else max(offset, upcoming.offset)
            if offset == limit:
                return upcoming
            most = min(most, limit - offset)
            begin, archive, when = self.memory_begin, self.archive, self.time_of(offset)
            if offset >= begin:
                return Data(offset, when, self._piece(offset - begin, most))
        if archive is None:
            return Dropped(offset, begin - offset)
        if not files:
            return BEHIND
        if data := archive.read(offset, most):
            return Data(offset, when, data)
        kept = archive.next(offset)
        return Dropped(offset, (begin if kept is None else min(kept, begin)) - offset)

    def _piece(self, start: int, most: int) -> bytes:
        number, at = divmod(start, BLOCK)
        parts: list[memoryview] = []
        while most > 0:
            part = memoryview(self._blocks[number])[at : at + most]
            parts.append(part)
            most -= len(part)
            number, at = number + 1, 0
        return b"".join(parts)


class Reader:
    """The place of one reader, which goes forward with what it takes."""

    def __init__(self, history: History, offset: int, event: int) -> None:
        self._history = history
        self.offset = offset
        self._event = event

    def take(self, most: int = 1024 * 1024, *, files: bool = True) -> Item | Behind | None:
        """The next item, None where there is none yet; BEHIND where it is in a file and `files` is false."""
        item = self._history.item(self.offset, self._event, most, files=files)
        match item:
            case Data():
                self.offset += len(item.data)
            case Dropped():
                self.offset += item.count
            case Event():
                self._event = max(self._event, self._history.first_event) + 1
            case _:
                pass
        return item

    def wait(self, timeout: float | None) -> Item | None:
        """The next item, in a thread: wait for it so many seconds. None when none came."""
        if (item := self.take()) is not None:
            return _no_behind(item)
        self._history.changes.wait_for(self.has_news, timeout)
        return _no_behind(self.take())

    def has_news(self) -> bool:
        """Whether there is a next item."""
        return self._history.item(self.offset, self._event, 1, files=False) is not None


def _no_behind(item: Item | Behind | None) -> Item | None:
    assert not isinstance(item, Behind), "files were allowed"
    return item
