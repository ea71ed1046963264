from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

Handler = Callable[[socket.socket], None]


@dataclass
class Service:
    """A server next to the exporter, one thread per connection; `handle` gets each connection."""

    listener: socket.socket
    handle: Handler
    failures: list[BaseException] = field(default_factory=list[BaseException])
    connections: list[socket.socket] = field(default_factory=list[socket.socket])
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(60)
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.handle(connection)
            except OSError as e:
                self.failures.append(e)

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.close()
        for thread in self.threads:
            thread.join(60)


@pytest.fixture
def tcp_service() -> Generator[Callable[[Handler], Service]]:
    """Start a TCP server on a free port, whose connections go to a function."""
    yield from _services(lambda: socket.create_server(("127.0.0.1", 0), backlog=1024))


@pytest.fixture
def unix_service(tmp_path: Path) -> Generator[Callable[[Handler], Service]]:
    """The same at `tmp_path / "service"`."""

    def listen() -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "service"))
        listener.listen()
        return listener

    yield from _services(listen)


def _services(listen: Callable[[], socket.socket]) -> Generator[Callable[[Handler], Service]]:
    started: list[Service] = []
    threads: list[threading.Thread] = []

    def start(handle: Handler) -> Service:
        service = Service(listen(), handle)
        started.append(service)
        threads.append(threading.Thread(target=service.run, daemon=True))
        threads[-1].start()
        return service

    yield start
    for service, thread in zip(started, threads, strict=True):
        service.stop()
        thread.join(60)
