"""The one thread of the simulated board: it owns the state, others ask it to act."""

import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol, TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)


class HasFileno(Protocol):
    """A socket, or what else has a file descriptor."""

    def fileno(self) -> int: ...


class Loop:
    """Runs callbacks in a thread of its own: for readable files, for calls from outside, and when time has come."""

    def __init__(self, name: str, advance: Callable[[], float | None]) -> None:
        """`advance` is called after everything that happens; it returns the seconds until it wants to be again."""
        self._advance = advance
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._calls: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.watch(self._woken, self._drain)

    def start(self) -> None:
        self._thread.start()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the thread and return its result; raises RuntimeError once the loop is stopped."""
        if threading.current_thread() is self._thread:
            return function()
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as e:  # noqa: BLE001 raised again by whoever called
                future.set_exception(e)

        with self._lock:
            if self._stopping:
                raise RuntimeError("the simulated board is closed")
            self._calls.append(run)
            with suppress(BlockingIOError):  # it is awake already
                self._wake.send(b"\0")
        return future.result()

    def watch(self, file: HasFileno, readable: Callable[[], None]) -> None:
        """Call `readable` whenever there is something to read."""
        self._selector.register(file, selectors.EVENT_READ, readable)

    def unwatch(self, file: HasFileno) -> None:
        """Forget a file, before it is closed."""
        self._selector.unregister(file)

    def stop(self) -> None:
        """End the thread and wait for it; calls that were made before are still answered."""
        with self._lock:
            self._stopping = True
            with suppress(BlockingIOError):
                self._wake.send(b"\0")
        self._thread.join()
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        while True:
            timeout = self._guard(self._advance)
            for key, _ in self._selector.select(timeout):
                if self._selector.get_map().get(key.fileobj) is key:  # not closed by what came before it
                    self._guard(key.data)
            while self._calls:
                self._calls.popleft()()
            with self._lock:
                if self._stopping and not self._calls:
                    return

    def _guard(self, function: Callable[[], T]) -> T | None:
        """Let no failure of a part end the thread, on which others wait."""
        try:
            return function()
        except Exception:
            logger.exception("simulated board: internal error")
            return None

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
