"""A serial device as a byte stream: non-blocking reads and writes on the event loop, without a thread."""

import os
import termios
import tty
from collections.abc import Generator
from contextlib import contextmanager

from anyio import ClosedResourceError, notify_closing, wait_readable, wait_writable
from anyio.abc import ObjectStream
from anyio.lowlevel import checkpoint_if_cancelled
from jumpstarter.streams.common import broken

CHUNK = 4096


class SerialStream(ObjectStream[bytes]):
    """An open serial device. It has no end: whoever has enough closes it."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self._closed = False

    async def receive(self) -> bytes:
        await checkpoint_if_cancelled()
        while True:
            self._check()
            try:
                data = os.read(self._fd, CHUNK)
            except BlockingIOError:
                await wait_readable(self._fd)
                continue
            except OSError as e:
                raise broken(f"console on {self._path}: {e.strerror}") from e
            if not data:
                raise broken(f"console on {self._path} hung up")
            return data

    async def send(self, item: bytes) -> None:
        await checkpoint_if_cancelled()
        rest = memoryview(item)
        while rest:
            self._check()
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await wait_writable(self._fd)
            except OSError as e:
                raise broken(f"console on {self._path}: {e.strerror}") from e

    async def send_eof(self) -> None:
        """Nothing: a serial line cannot say that no more follows."""

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the device; a second time does nothing."""
        if not self._closed:
            self._closed = True
            notify_closing(self._fd)
            os.close(self._fd)

    def _check(self) -> None:
        if self._closed:
            raise ClosedResourceError


@contextmanager
def open_serial(path: str) -> Generator[SerialStream]:
    """Open a serial device for bytes as they are; what arrived before is dropped, as pySerial does."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    stream = SerialStream(fd, path)
    try:
        tty.setraw(fd, termios.TCSANOW)
        termios.tcflush(fd, termios.TCIFLUSH)
        yield stream
    finally:
        stream.close()
