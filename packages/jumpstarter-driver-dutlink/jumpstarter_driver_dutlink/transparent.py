"""The board's tty, kept transparent.

Five bytes 0x02 in a row, as a binary transfer may have them, let the firmware leave its console mode for a shell of
its own; there is no way to escape them. They reach the DUT all the same, so what is to be done is to go back at once,
and to let nobody see what the shell says. The mode is the board's: it stays when the port is closed and opened again.
"""

from __future__ import annotations

import threading
from typing import Any

from jumpstarter_driver_serial.port import Port

CTRL_B = 0x02
RUN = 5
"""So many of them lead out of console mode."""

LEFT = b"\r\nExiting console mode\r\n#> "
BACK = b"Entering console mode, type CTRL+B 5 times to exit\r\n"
COMMAND = b"console\r"

PATIENCE = 0.5
"""Seconds until the firmware says that it has left; it says nothing where it was in its shell before."""

RETURN = 2.0
"""Seconds until it says that it is back."""


class TransparentPort:
    """A port of the board, in place of the one that it is made of."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.line: Any = port.line
        self.is_quick = port.is_quick
        self._run = 0
        self._awaited = b""
        """What the shell is to say before bytes are the DUT's again; empty in console mode."""
        self._held = b""
        """What came and may be the begin of that."""
        self._kept = b""
        """What the DUT said before the shell began."""
        self._lock = threading.Lock()
        self._clear = threading.Event()
        self._clear.set()
        self._timer: threading.Timer | None = None

    def force(self) -> None:
        """Bring the board into console mode, whatever it was in; the DUT sees five times Ctrl-B."""
        rest = memoryview(bytes([CTRL_B]) * RUN)
        while rest:
            written = self.write(rest)
            rest = rest[written:]
            if not written:
                self.wait_writable(PATIENCE)

    def fileno(self) -> int:
        return self._port.fileno()

    def wait_readable(self, seconds: float | None) -> bool:
        return self._port.wait_readable(seconds)

    def read(self) -> bytes:
        data = bytes(self._port.read())
        with self._lock:
            return self._without_shell(data)

    def write(self, data: memoryview) -> int:
        with self._lock:
            if not self._clear.is_set():
                return 0
            end, run = self._end_of_run(data)
            if run == RUN:
                self._wait_for(LEFT, PATIENCE)  # before the shell can have answered
            written = self._port.write(data[:end])
            if written == end:
                self._run = run % RUN
            else:
                self._run = self._end_of_run(data[:written])[1]
                self._go_on()
            return written

    def wait_writable(self, seconds: float) -> None:
        if self._clear.wait(seconds):
            self._port.wait_writable(seconds)

    def wake(self) -> None:
        self._port.wake()

    def close(self) -> None:
        with self._lock:
            self._stop_timer()
            self._clear.set()
        self._port.close()

    def _end_of_run(self, data: memoryview) -> tuple[int, int]:
        """How much of the data can be written at once, and how many Ctrl-B in a row there are at its end."""
        run = self._run
        for index, byte in enumerate(data):
            run = run + 1 if byte == CTRL_B else 0
            if run == RUN:
                return index + 1, run
        return len(data), run

    def _without_shell(self, data: bytes) -> bytes:
        """What of the bytes is the DUT's; goes on with the way back when the shell has said what is awaited."""
        if not (self._awaited or self._held or self._kept):
            return data
        self._held += data
        while self._awaited:
            before, found, after = self._held.partition(self._awaited)
            if not found:
                return b""
            self._held = after
            if self._awaited == LEFT:
                self._port.write(memoryview(COMMAND))
                self._wait_for(BACK, RETURN, before)
            else:  # `before` is the echo of the command
                self._go_on()
        dut, self._kept, self._held = self._kept + self._held, b"", b""
        return dut

    def _wait_for(self, text: bytes, seconds: float, kept: bytes = b"") -> None:
        self._stop_timer()
        self._awaited, self._kept = text, kept
        self._clear.clear()
        self._timer = threading.Timer(seconds, self._overdue, (text,))
        self._timer.daemon = True
        self._timer.start()

    def _overdue(self, text: bytes) -> None:
        """The shell does not say it: from the shell lead the way back all the same, else give up."""
        with self._lock:
            if self._awaited != text:
                return
            if text == LEFT:
                kept, self._held = self._held, b""
                self._port.write(memoryview(COMMAND))
                self._wait_for(BACK, RETURN, kept)
            else:
                self._go_on()

    def _go_on(self) -> None:
        """Bytes are the DUT's again."""
        self._stop_timer()
        self._awaited = b""
        self._clear.set()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
