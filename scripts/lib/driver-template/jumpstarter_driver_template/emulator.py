"""The device, without the device: a thread that answers SCPI on a TCP port of this machine."""

import socketserver
import threading
from types import TracebackType
from typing import Self

IDENTITY = "Example,Template,0001,1.0"


class Emulator:
    """A device at `host`:`port` while the context lasts. It measures `value`, and is silent if `value` is None."""

    def __init__(self, value: float | None = 1.5) -> None:
        self.value = value
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.host, self.port = "127.0.0.1", int(self._server.server_address[1])

    def answer(self, question: str) -> str | None:
        """What the device says to a line; None if nothing."""
        if question == "*IDN?":
            return IDENTITY
        return str(self.value) if question == "MEAS?" and self.value is not None else None

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        emulator = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    answer = emulator.answer(line.decode("ascii").strip())
                    if answer is None:
                        return
                    self.wfile.write(f"{answer}\n".encode())

        return Handler
