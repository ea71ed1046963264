"""What is at the two ends of a forward: services, and local programs."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

BLOCK = 1 << 20
PATIENCE = 60.0


class Service:
    """A TCP service, one thread per connection; `handle` gets each one, and what it raises is kept."""

    def __init__(self, handle: Callable[[socket.socket], object]) -> None:
        self._handle = handle
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.outcomes: list[object] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.outcomes.append(self._handle(connection))
            except OSError as e:
                self.outcomes.append(e)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(60)
        for thread in self._threads:
            thread.join(PATIENCE)


@contextmanager
def serving(handle: Callable[[socket.socket], object]) -> Generator[Service]:
    """A service meanwhile."""
    service = Service(handle)
    try:
        yield service
    finally:
        service.close()


def dial(port: int) -> socket.socket:
    """A connection to a local port."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def send_blocks(sock: socket.socket, total: int) -> str:
    """Send so many bytes, each MiB of them different; returns their digest."""
    digest = hashlib.sha256()
    rest = bytes(range(251)) * (BLOCK // 251 + 1)
    for i in range(total // BLOCK):
        block = struct.pack(">Q", i) + rest[i % 251 :][: BLOCK - 8]
        block += b"\0" * (BLOCK - len(block))
        digest.update(block)
        sock.sendall(block)
    return digest.hexdigest()


def digest_of(sock: socket.socket, *, stalls: int = 0) -> str:
    """Receive until the end, and stop reading for 0.5 s so many times; returns the digest."""
    digest, received, pauses = hashlib.sha256(), 0, 0
    buffer = memoryview(bytearray(BLOCK))
    while size := sock.recv_into(buffer):
        digest.update(buffer[:size])
        received += size
        if pauses < stalls and received >= (pauses * 4 + 1) * BLOCK:
            pauses += 1
            time.sleep(0.5)
    return digest.hexdigest()


def echo(sock: socket.socket) -> None:
    """Send back what comes."""
    while data := sock.recv(BLOCK):
        sock.sendall(data)


def reset(sock: socket.socket) -> None:
    """Close with a reset, as a system does for a program that is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def end_of(sock: socket.socket) -> BaseException | None:
    """Receive until the end, and say how it came: None for a clean one."""
    try:
        while sock.recv(BLOCK):
            pass
    except OSError as e:
        return e
    return None
