"""A serial device on a pseudo-terminal.

Closing both ends of a pseudo-terminal is what the driver sees as unplugging: its reads fail with EIO or end.
"""

import os
import random
import select
import termios
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024
PATIENCE = 15.0
"""Seconds that a test waits before it is given up."""

_SPEEDS = {
    value: int(name[1:]) for name, value in vars(termios).items() if name.startswith("B") and name[1:].isdecimal()
}


class FakeSerial:
    """A device that a serial driver opens at `path`; plugged in while the context lasts."""

    def __init__(
        self,
        link: Path,
        *,
        answer: Callable[[bytes], bytes] | None = None,
        rate: float | None = None,
        garbage: float = 0.0,
        seed: int = 0,
    ) -> None:
        """`answer` gets the bytes as they come and returns what the device sends; `rate` is in bytes a second.

        `garbage` is the part of the bytes, 0 to 1, of which one bit is wrong.
        """
        self._link = link
        self._answer = answer
        self.rate = rate
        self.garbage = garbage
        self._noise = random.Random(seed)
        self._line = threading.Condition()
        """Guards what follows."""
        self._received = bytearray()
        self._port: _Pty | None = None
        self._sending = threading.Lock()

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    @property
    def path(self) -> str:
        """What the driver opens; the same after unplugging and plugging in again."""
        return str(self._link)

    @property
    def is_plugged(self) -> bool:
        return self._port is not None

    @property
    def baudrate(self) -> int:
        """The rate that the driver has set, in baud. It changes nothing here."""
        return _SPEEDS[termios.tcgetattr(self._plugged().slave)[5]]

    def plug(self) -> None:
        """Let the device appear, with a new pseudo-terminal behind the link; nothing if it is there."""
        if self._port is None:
            self._port = _Pty(self._take)
            other = self._link.with_name(f"{self._link.name}.new")
            other.symlink_to(self._port.name)
            other.replace(self._link)  # there is no moment with half a link

    def unplug(self) -> None:
        """Let the device disappear while it is open, if it is there."""
        port, self._port = self._port, None
        if port is not None:
            self._link.unlink(missing_ok=True)
            port.close()

    def send(self, data: bytes, timeout: float = PATIENCE) -> None:
        """Put bytes on the line, and wait until the kernel has taken them for the driver.

        What the driver has not read is lost when the device is unplugged, as with any adapter.

        Raises TimeoutError when nobody reads them for so many seconds, and ConnectionError when unplugged meanwhile.
        """
        with self._sending:
            for piece, pause in self._paced(self._spoiled(data)):
                self._plugged().write(piece, timeout)
                time.sleep(pause)

    def receive_until(self, text: bytes, timeout: float = PATIENCE) -> bytes:
        """Take what the driver has sent, up to the end of `text`; TimeoutError says what came instead."""
        with self._line:
            if not self._line.wait_for(lambda: text in self._received, timeout):
                raise TimeoutError(f"no {text!r} within {timeout:g} s, but {bytes(self._received[-200:])!r}")
            end = self._received.index(text) + len(text)
            taken = bytes(self._received[:end])
            del self._received[:end]
            return taken

    def received(self) -> bytes:
        """What the driver has sent and nobody has taken."""
        with self._line:
            return bytes(self._received)

    def _take(self, data: bytes) -> None:
        with self._line:
            self._received += data
            self._line.notify_all()
        if self._answer is not None and (reply := self._answer(data)):
            with suppress(ConnectionError, TimeoutError):  # unplugged, or the driver does not read
                self.send(reply)

    def _spoiled(self, data: bytes) -> bytes:
        if not self.garbage:
            return data
        noise = self._noise
        return bytes(byte ^ (1 << noise.randrange(8)) if noise.random() < self.garbage else byte for byte in data)

    def _paced(self, data: bytes) -> list[tuple[bytes, float]]:
        """The pieces to send, each with the seconds to wait after it."""
        if self.rate is None:
            return [(data, 0.0)]
        size = max(1, int(self.rate / 100))
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        return [(piece, len(piece) / self.rate) for piece in pieces]

    def _plugged(self) -> "_Pty":
        if (port := self._port) is None:
            raise ConnectionError(f"{self.path} is unplugged")
        return port


class _Pty:
    """The two ends of a pseudo-terminal, and a thread that reads what the driver writes."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._master, self.slave = os.openpty()  # the slave stays open, or the master hangs up with the driver
        tty.setraw(self.slave)
        self.name = os.ttyname(self.slave)
        os.set_blocking(self._master, False)
        self._take = take
        self._wake, self._waker = os.pipe()
        self._closed = False
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._read, name=f"fake {self.name}", daemon=True)
        self._thread.start()

    def write(self, data: bytes, timeout: float) -> None:
        with self._writing:
            rest = memoryview(data)
            while rest:
                if self._closed:
                    raise ConnectionError(f"{self.name} is unplugged")
                try:
                    rest = rest[os.write(self._master, rest[:CHUNK]) :]
                except BlockingIOError:
                    waiting = select.poll()
                    waiting.register(self._master, select.POLLOUT)
                    waiting.register(self._wake, select.POLLIN)
                    if not waiting.poll(timeout * 1000):
                        raise TimeoutError(f"nobody reads {self.name}") from None

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        os.close(self._waker)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        with self._writing:
            os.close(self._wake)
            os.close(self.slave)
            os.close(self._master)

    def _read(self) -> None:
        waiting = select.poll()
        waiting.register(self._master, select.POLLIN)
        waiting.register(self._wake, select.POLLIN)
        while not self._closed:
            if any(fd == self._master for fd, _ in waiting.poll()):
                self._take(os.read(self._master, CHUNK))
