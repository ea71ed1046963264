"""Who owns a port: a thread that opens it, reads it at all times, and finds it again when it was lost."""

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from jumpstarter.common.exceptions import BusyError, DeviceAbsentError, JumpstarterException

from .history import History, clock
from .looped import LoopSide
from .port import Port, PortLost

REOPEN = 0.1
"""Seconds between attempts to open a port that is gone."""

STAND_BY = 0.005
"""Seconds after which the thread reads what the event loop has not; a fast port fills the system's buffer in 13 ms."""

MUCH = 64 * 1024
"""Bytes of a read from which on the thread reads, next to whatever the event loop does with them."""

WRITE_SLICE = 0.1
"""Seconds after which a write that waits looks whether it is still wanted."""


@dataclass(frozen=True)
class Loss:
    """A port that is gone."""

    reason: str
    time: float = field(default_factory=clock)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"lost at {at(self.time)}: {self.reason}"


def at(moment: float) -> str:
    """A time of day, in the exporter's time zone, to the millisecond."""
    return time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1000):03d}"


class Keeper:
    """The owner of one port."""

    def __init__(self, where: str, opener: Callable[[], Port], history: History, logger: logging.Logger) -> None:
        """`where` names the console in errors; `opener` opens its port, and is asked again whenever it was lost."""
        self._where, self._open, self._history, self._logger = where, opener, history, logger
        self.loss: Loss | None = None
        """Why the port is not there now."""
        self._port: Port | None = None
        self._lock = threading.Lock()
        """Held while the port is used or closed, which takes no time."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._reading = threading.Lock()
        """Held from reading bytes until they are in the history, which keeps their order."""
        self._loop = LoopSide(self._read_on_loop, self._wake)

    @property
    def is_running(self) -> bool:
        """Whether it has the port, or looks for it."""
        return self._thread is not None

    def start(self, *, required: bool = True) -> None:
        """Open the port and keep it; raises what opening it does, unless it need not be there yet."""
        if self._thread is not None:
            return
        self._stop.clear()
        try:
            self._port = self._open()
            self.loss = None
        except (OSError, BusyError, DeviceAbsentError) as e:
            if required:
                raise
            self.loss = Loss(str(e))
        self._thread = threading.Thread(target=self._run, name=f"console {self._where}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port, and let whoever waits for it know."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop.set()
        self._wake()
        thread.join()
        self._history.changes.notify()

    # the thread

    def _run(self) -> None:
        port = self._port
        while not self._stop.is_set():
            if port is None:
                port = self._reopened()
                continue
            self._loop.opened(port)
            try:
                while not self._stop.is_set():
                    self._read_next(port)
            except PortLost as e:
                self._lose(str(e))
                port = None
        self._close()

    def _read_next(self, port: Port) -> None:
        if port.wait_readable(None) and self._loop.is_reading:
            reads = self._loop.reads
            if self._stop.wait(STAND_BY) or self._loop.reads != reads or not port.wait_readable(0):
                return
        with self._reading:
            if data := port.read():
                self._history.append(data)
        if port.is_quick and len(data) < MUCH and not self._history.is_pressed:
            self._loop.resume()

    def _read_on_loop(self, port: Port) -> bool:
        """Read without waiting; false when the thread has to."""
        if self._history.is_pressed or not self._reading.acquire(blocking=False):
            return False
        try:
            if data := port.read():
                self._history.append(data)
        finally:
            self._reading.release()
        return len(data) < MUCH

    def _wake(self) -> None:
        with self._lock:
            if self._port is not None:
                self._port.wake()

    def visit(self) -> None:
        """Somebody waits for bytes on this event loop from now on, until `leave`."""
        self._loop.visit()

    async def when_writable(self, write: Callable[[], bool]) -> bool:
        """Call `write` on the event loop until all is written, or the port is gone; false where a thread has to."""
        return await self._loop.when_writable(write)

    def leave(self) -> None:
        """They do no more."""
        self._loop.leave()

    def _close(self) -> None:
        self._loop.closing()
        with self._lock:
            port, self._port = self._port, None
        if port is not None:
            port.close()

    def _lose(self, reason: str) -> None:
        self.loss = Loss(reason)
        self._close()  # at once, or the kernel gives the device another number when it comes back
        self._logger.warning("console %s %s", self._where, self.loss)
        self._history.happened("lost", str(self.loss))

    def _reopened(self) -> Port | None:
        if self._stop.wait(REOPEN):
            return None
        try:
            port = self._open()
        except (OSError, JumpstarterException, ValueError) as e:  # also a device that is back, and faulty for a while
            self._logger.debug("console %s: %s", self._where, e)
            return None
        loss = self.loss
        with self._lock:
            self._port = port
            self.loss = None
        gone = clock() - loss.time if loss is not None else 0.0
        self._logger.info("console %s is back after %.1f s", self._where, gone)
        self._history.happened("back", f"back after {gone:.1f} s, at {at(clock())}")
        return port

    # for everybody

    def write_now(self, data: memoryview) -> int:
        """Write what can be written without waiting, in bytes. DeviceAbsentError while the port is gone."""
        with self._using() as port:
            return port.write(data) if port.is_quick else 0

    def write(self, data: bytes, *, cps: float | None, is_wanted: Callable[[], bool]) -> bool:
        """Write it in a thread, at `cps` characters a second, as long as it is wanted; whether all was written."""
        rest, due = memoryview(data), time.monotonic()
        while rest and is_wanted():
            if cps is not None and (pause := due - time.monotonic()) > 0:
                time.sleep(min(pause, WRITE_SLICE))
                continue
            with self._using() as port:
                written = port.write(rest[:1] if cps is not None else rest)
            rest = rest[written:]
            if not written:
                port.wait_writable(WRITE_SLICE)
            elif cps is not None:
                due = max(due, time.monotonic() - 1 / cps) + 1 / cps
        return not rest

    def control(self, action: Callable[[Any], object]) -> Any:
        """Do something with pySerial's port, whose bytes go on meanwhile. DeviceAbsentError while it is gone."""
        with self._using() as port:
            return action(port.line)

    @contextmanager
    def _using(self) -> Generator[Port]:
        with self._lock:
            if self._port is None:
                reason = str(self.loss) if self.loss is not None else "it is closed"
                raise DeviceAbsentError(f"console {self._where}: {reason}", "connect the device again")
            try:
                yield self._port
            except PortLost as e:
                self._port.wake()  # whoever reads notices, too
                raise DeviceAbsentError(f"console {self._where}: {e}", "connect the device again") from e
