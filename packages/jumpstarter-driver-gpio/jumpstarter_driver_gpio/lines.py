"""Lines that are ours: requested once, kept, and found again where their chip was gone."""

import errno
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from jumpstarter.common.changes import Changes
from jumpstarter.common.exceptions import DeviceAbsentError

from .chips import Line, Setup, library, request
from .edges import Edge

KEPT_EDGES = 65536
"""Edges that are kept for readers who are slow."""

SPIN = 0.002
"""Seconds before the end of a pulse in which its end is waited for busily: sleeping is not exact."""

_GONE = {errno.ENODEV, errno.ENXIO, errno.EIO}


class Lines:
    """Some lines of one chip. May be used from any thread."""

    def __init__(self, device: str, lines: Sequence[Line], setup: Setup, levels: Sequence[bool]) -> None:
        """`levels` are those of outputs, from the moment of the request on."""
        self._device, self._names, self._setup, self._levels = device, list(lines), setup, list(levels)
        self.where = f"line {', '.join(map(str, lines))} of GPIO chip {device}"
        self.edges = EdgeLog()
        self._lock = threading.RLock()
        self._request: Any = None
        self._offsets: list[int] = []
        self._watcher: _Watcher | None = None

    def open(self) -> None:
        """Request the lines, if they are not; raises as `chips.request` does."""
        with self._lock:
            if self._request is None:
                self._request, self._offsets = request(self._device, self._names, self._setup, self._levels)
                if self._setup.edges:
                    self._watcher = _Watcher(self, self._request, self.edges)

    def close(self) -> None:
        """Release the lines; what level they have then is the chip's affair."""
        with self._lock:
            held, self._request = self._request, None
            watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
        if held is not None:
            held.release()
        self.edges.changes.notify()

    @property
    def is_open(self) -> bool:
        return self._request is not None

    def read(self) -> list[bool]:
        """The levels, active or not; changes nothing."""
        with self._using() as (held, offsets):
            active = library().line.Value.ACTIVE
            return [value == active for value in held.get_values(offsets)]

    def write(self, levels: Sequence[bool]) -> None:
        """Set all levels at once."""
        with self._using() as (held, offsets):
            value = library().line.Value
            held.set_values({o: value.ACTIVE if a else value.INACTIVE for o, a in zip(offsets, levels, strict=True)})

    def pulse(self, level: bool, width: float, sleep: Callable[[float], object]) -> float:
        """Have the one line at a level for so many seconds, and then at the other; returns how long it really was.

        `sleep` waits for the longer part; what it raises ends the pulse at once. A write takes some time, in the midst
        of which the level changes: the second one begins early by half of what the first one took.
        """
        with self._using() as (held, offsets):
            value = library().line.Value
            active, inactive = {offsets[0]: value.ACTIVE}, {offsets[0]: value.INACTIVE}
            first, second = (active, inactive) if level else (inactive, active)
            before = time.monotonic()
            held.set_values(first)
            after = time.monotonic()
        begin, half = (before + after) / 2, (after - before) / 2
        try:
            if (long := begin + width - SPIN - after) > 0:
                sleep(long)
        except BaseException:
            self.write([not level])
            raise
        with self._using() as (held, _):
            while (before := time.monotonic()) < begin + width - half:
                pass
            held.set_values(second)
            after = time.monotonic()
        return (before + after) / 2 - begin

    def lost(self, reason: str) -> None:
        """The chip is gone: the next use tries to find it again."""
        with suppress(OSError):
            self.close()
        self.edges.fail(reason)

    @contextmanager
    def _using(self) -> Generator[tuple[Any, list[int]]]:
        with self._lock:
            self.open()
            try:
                yield self._request, self._offsets
            except OSError as e:
                if e.errno not in _GONE:
                    raise OSError(f"{self.where}: {(e.strerror or str(e)).lower()}") from e
                self.lost("the chip is gone")
                raise DeviceAbsentError(f"{self.where}: the chip is gone", "connect it again") from e


class EdgeLog:
    """The edges of some lines, for any number of readers."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.count = 0
        """How many there were."""
        self.failure: str | None = None
        """Why there will be no more, unless the lines are opened again."""
        self._edges: deque[Edge] = deque(maxlen=KEPT_EDGES)
        self._lock = threading.Lock()

    def append(self, edges: Sequence[Edge]) -> None:
        with self._lock:
            self._edges.extend(edges)
            self.count += len(edges)
            self.failure = None
        self.changes.notify()

    def fail(self, reason: str) -> None:
        self.failure = reason
        self.changes.notify()

    def since(self, place: int) -> tuple[list[Edge], int]:
        """The edges from a place on, and how many of them are not kept any more."""
        with self._lock:
            first = self.count - len(self._edges)
            lost = max(0, first - place)
            return [self._edges[i] for i in range(max(0, place - first), len(self._edges))], lost


class _Watcher:
    """A thread that takes edges from the kernel as soon as they are there, so that its buffer never fills."""

    def __init__(self, lines: Lines, held: Any, log: EdgeLog) -> None:
        self._lines, self._held, self._log = lines, held, log
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC)
        self._next: dict[int, int] = {}
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"edges of {lines.where}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended = True
        os.write(self._waker, b"\0")
        if threading.current_thread() is not self._thread:
            self._thread.join()
        os.close(self._wake)
        os.close(self._waker)

    def _run(self) -> None:
        waiting = select.poll()  # gpiod's own wait uses select(), which fails for descriptors from 1024 on
        waiting.register(self._held.fd, select.POLLIN)
        waiting.register(self._wake, select.POLLIN)
        while True:
            ready = dict(waiting.poll())
            if self._ended or self._wake in ready:
                return
            if ready[self._held.fd] & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                self._lines.lost("the chip is gone")
                return
            try:
                events = self._held.read_edge_events()
            except OSError:
                self._lines.lost("the chip is gone")
                return
            self._log.append([self._edge(event) for event in events])

    def _edge(self, event: Any) -> Edge:
        expected = self._next.get(event.line_offset, 1)
        self._next[event.line_offset] = event.line_seqno + 1
        return Edge(
            edge="rising" if event.event_type is event.Type.RISING_EDGE else "falling",
            line=event.line_offset,
            timestamp_ns=event.timestamp_ns,
            seqno=event.global_seqno,
            missed=max(0, event.line_seqno - expected),
        )
