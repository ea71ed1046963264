"""A TCP proxy between a client and an exporter that breaks the connection on demand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from peers import reset

WAKE = 0.05
"""Seconds after which a thread looks whether it is to end."""


class Proxy:
    """Passes bytes on until `reset`, `fin` or `cut_after` end all connections, or `freeze` holds them up."""

    def __init__(self, target: str, port: int = 0) -> None:
        host, _, number = target.rpartition(":")
        self._target = (host, int(number))
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._end: Callable[[socket.socket], None] | None = None
        self._budget: int | None = None
        self._flip: int | None = None
        self.rate: int | None = None
        """Bytes per second and direction that pass."""
        self._thawed = threading.Event()
        self._thawed.set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, function: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=function, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        far = socket.create_connection(self._target)
        for sock in (near, far):
            sock.settimeout(WAKE)
        back = threading.Thread(target=self._pass, args=(far, near))
        back.start()
        self._pass(near, far)
        back.join()
        for sock in (near, far):
            (self._end or socket.socket.close)(sock)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while self._end is None:
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                self._send(sink, data)

    def _send(self, sink: socket.socket, data: bytes) -> None:
        self._thawed.wait()
        if self._budget is not None:
            data, self._budget = data[: max(self._budget, 0)], self._budget - len(data)
        if self._flip is not None:
            if self._flip < len(data):
                data = data[: self._flip] + bytes([data[self._flip] ^ 4]) + data[self._flip + 1 :]
            self._flip = self._flip - len(data) if self._flip >= len(data) else None
        while data and self._end is None:
            if self.rate is not None:
                time.sleep(len(data) / self.rate)
            with suppress(TimeoutError):
                data = data[sink.send(data) :]
        if self._budget is not None and self._budget <= 0:
            self._end = socket.socket.close

    def cut_after(self, size: int) -> None:
        """End the connections after so many more bytes, most likely in the middle of a frame."""
        self._budget = size

    def flip_at(self, position: int) -> None:
        """Pass on one wrong bit, so many bytes from now."""
        self._flip = position

    def freeze(self) -> None:
        """Pass nothing on any more, and say nothing."""
        self._thawed.clear()

    def fin(self) -> None:
        """End the connections as a program does that closes them."""
        self._end = socket.socket.close

    def reset(self) -> None:
        """Reset the connections."""
        self._end = reset

    def close(self) -> None:
        self._end = self._end or socket.socket.close
        self._thawed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)


@contextmanager
def proxying(target: str, *, port: int = 0) -> Generator[Proxy]:
    """A proxy meanwhile, on a free port or this one."""
    proxy = Proxy(target, port)
    try:
        yield proxy
    finally:
        proxy.close()
