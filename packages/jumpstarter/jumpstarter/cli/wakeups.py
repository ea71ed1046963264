"""Signals for who waits for a child: its end, and those that are meant for it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from typing import Any

FORWARDED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
"""Signals that are passed to the child."""


class Wakeups:
    """Signals as something to wait for, whichever thread the kernel gives them to, without a moment to miss one in."""

    def __init__(self) -> None:
        self.forward: Callable[[int], None] = lambda signum: None
        """Called with each of FORWARDED."""
        self._pipe = (-1, -1)
        self._before: dict[int, Any] = {}
        self._fd_before = -1

    def __enter__(self) -> Wakeups:
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._fd_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for signum in FORWARDED:
            self._before[signum] = signal.signal(signum, lambda signum, frame: self.forward(signum))
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        return self

    def __exit__(self, *exc: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._fd_before)
        for end in self._pipe:
            os.close(end)

    def wait(self, timeout: float | None = None) -> None:
        """Return after the next signal or so many seconds, or at once if there was a signal since the last time."""
        if select.select([self._pipe[0]], [], [], timeout)[0]:
            os.read(self._pipe[0], 512)
