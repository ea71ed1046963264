"""The serial port of the simulated board: a pseudo-terminal whose other end is opened like any serial device."""

import fcntl
import os
import random
import struct
import termios
import tty
from collections import deque
from contextlib import suppress

UNREAD_LIMIT = 4000
"""Bytes that wait for a reader before the line overruns; the kernel holds 4096."""

FIFO = 4096


class Uart:
    """The board's side of the line.

    Like on a real line, nothing slows the sender: what nobody reads in time is lost.
    """

    def __init__(self, seed: int) -> None:
        self._master, self._slave = os.openpty()  # the slave stays open, otherwise the master hangs up with each reader
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._noise = random.Random(seed)
        self.path = os.ttyname(self._slave)
        self.received: deque[int] = deque(maxlen=FIFO)
        self.garbage = False

    def fileno(self) -> int:
        """The end that becomes readable when somebody types."""
        return self._master

    def send(self, text: str) -> None:
        """Put text on the line; a line feed becomes carriage return and line feed."""
        data = text.replace("\n", "\r\n").encode()
        if self.garbage:
            data = bytes(self._noise.randrange(0x80, 0x100) for _ in data)
        if self._unread() + len(data) <= UNREAD_LIMIT:
            with suppress(BlockingIOError):  # an overrun
                os.write(self._master, data)

    def receive(self, *, keep: bool) -> None:
        """Take what was typed; without `keep` it is lost, as on a board without power."""
        try:
            data = os.read(self._master, FIFO)
        except BlockingIOError:
            return
        if keep:
            self.received.extend(data)

    def close(self) -> None:
        """Hang up; readers see the end."""
        os.close(self._slave)
        os.close(self._master)

    def _unread(self) -> int:
        (count,) = struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4))
        return int(count)
