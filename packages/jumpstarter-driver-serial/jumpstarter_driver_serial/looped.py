"""Reading a port on the event loop, while somebody there waits for its bytes.

A thread reads ports at all times. For whoever waits on the event loop, a byte that the loop reads itself saves the way
through that thread, which is a third of a round trip. The thread stands by, for when the loop is busy.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from .port import DescriptorPort, Port, PortLost

FORGET_TIMEOUT = 5.0
"""Seconds that closing a port waits for a loop that is busy."""


class LoopSide:
    """The event loop's part in reading a port."""

    def __init__(self, read: Callable[[Port], bool], lost: Callable[[], None]) -> None:
        """`read` takes what is there without waiting, false when it must not now; `lost` is called at a loss."""
        self._read, self._lost = read, lost
        self.reads = 0
        """How often the loop has read; it is busy where that stands still."""
        self.is_reading = False
        self._lock = threading.Lock()
        """Guards what follows."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._visitors = 0
        self._port: Port | None = None
        self._writer: asyncio.Future[None] | None = None
        """Who waits until the port can be written to; of the loop only."""

    # on the event loop

    def visit(self) -> None:
        """Somebody waits for bytes on this loop from now on."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._loop not in (None, loop):
                return
            self._loop = loop
            self._visitors += 1
        self._begin()

    def leave(self) -> None:
        """They do no more."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._loop is not loop:
                return
            self._visitors -= 1
            if self._visitors:
                return
        self._pause()
        if (port := self._port) is not None:
            self._forget_writer(port)
        with self._lock:
            self._loop = None

    async def when_writable(self, write: Callable[[], bool]) -> bool:
        """Call `write` whenever the port can be written to, until it says that this was all, or the port is gone.

        False where a thread has to do that. Raises what `write` does.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            port = self._port if self._loop is loop else None
        # one that is made of another may have reasons of its own to wait
        if not isinstance(port, DescriptorPort) or self._writer is not None:
            return False
        waiter = self._writer = loop.create_future()

        def writable() -> None:  # a task for each piece that the system takes would halve the rate
            if waiter.done():
                return
            try:
                if write():
                    waiter.set_result(None)
            except Exception as e:  # noqa: BLE001 raised by the task that waits
                waiter.set_exception(e)

        loop.add_writer(port.fileno(), writable)
        try:
            await waiter
        finally:
            self._forget_writer(port)
        return True

    def _forget_writer(self, port: Port) -> None:
        if self._writer is not None and (loop := self._loop) is not None:
            self._wake_writer()
            self._writer = None
            loop.remove_writer(port.fileno())

    def _wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _begin(self) -> None:
        with self._lock:
            port, loop = self._port, self._loop
            if port is None or loop is None or self.is_reading or not port.is_quick:
                return
            self.is_reading = True
        loop.add_reader(port.fileno(), self._readable, port)
        port.wake()  # the thread stands by from now on

    def _pause(self) -> None:
        with self._lock:
            port, loop, was_reading = self._port, self._loop, self.is_reading
            self.is_reading = False
        if was_reading and port is not None and loop is not None:
            loop.remove_reader(port.fileno())
            port.wake()

    def _readable(self, port: Port) -> None:
        self.reads += 1
        try:
            if self._read(port):
                return
        except PortLost:
            self._pause()
            self._lost()
            return
        self._pause()

    # in the thread

    def opened(self, port: Port) -> None:
        """There is a port."""
        with self._lock:
            self._port = port
        self.resume()

    def resume(self) -> None:
        """Let the loop read again, if it did not."""
        with self._lock:
            loop = None if self.is_reading else self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._begin)

    def closing(self) -> None:
        """The port is about to be closed; returns when the loop does not know it any more."""
        with self._lock:
            loop, port = self._loop, self._port
        if loop is not None and port is not None:
            done = threading.Event()

            def forget() -> None:
                self._pause()
                self._forget_writer(port)
                done.set()

            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(forget)
                done.wait(FORGET_TIMEOUT)
        with self._lock:
            self._port = None
