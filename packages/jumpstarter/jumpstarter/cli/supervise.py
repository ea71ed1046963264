"""The parent of an exporter that starts it anew when it dies.

It does so little that little can end it: no gRPC, no drivers, not even the configuration. The exporter is a child that
runs the same command line. Whatever an exporter leaves running when it dies comes to the parent, which adopts orphans
where the system has that (Linux), and ends it before it starts the next one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

from ..common.backoff import Backoff
from ..common.env import JMP_SUPERVISOR
from ..common.guardian import SHORT_GRACE, Family
from ..common.limits import SHUTDOWN
from . import errors
from .wakeups import Wakeups

FINAL = (errors.OK, 1, errors.USAGE, errors.CONFIG, errors.UNREACHABLE, errors.BUSY, errors.NOT_ALLOWED)
"""What another start would not change, where the exporter itself has ended so; 1 is the will of a hook."""

_LATEST = SHUTDOWN + 5
"""Seconds that the exporter has to end after it was told to."""


def supervise() -> int:
    """Run the exporter of this command line until it ends for good, or a signal ends it; returns the exit status."""
    with Wakeups() as wakeups:
        return _Supervisor(wakeups).run()


class _Supervisor:
    def __init__(self, wakeups: Wakeups) -> None:
        self._wakeups = wakeups
        self._family = Family()
        self._is_stopping = False
        self._kill_at: float | None = None
        wakeups.forward = self._forward

    def run(self) -> int:
        backoff = Backoff()
        while True:
            started = time.monotonic()
            status, told = self._run_once()
            for pid in self._family.end(SHORT_GRACE):
                errors.warn("jmp", f"process {pid} of the exporter could not be ended")
            if self._is_stopping or (status == told and status in FINAL):
                return _final(status, told)
            delay = backoff.after(time.monotonic() - started)
            errors.warn("jmp", f"the exporter {_how(status)}; it is started again in {delay:.1f} s")
            self._pause(delay)
            if self._is_stopping:
                return _final(status, told)

    def _run_once(self) -> tuple[int, int | None]:
        """Run the exporter; how it has ended, and with what status it said that it would."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                if not self._start(theirs):
                    return errors.FAILED, None
            while self._family.status is None:
                self._wait(None if self._kill_at is None else self._kill_at - time.monotonic())
                self._family.reap()
                if self._kill_at is not None and time.monotonic() >= self._kill_at:
                    self._send(signal.SIGKILL)
            return self._family.status, _read_status(ours)

    def _start(self, lifeline: socket.socket) -> bool:
        lifeline.set_inheritable(True)
        try:
            child = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                env={**os.environ, JMP_SUPERVISOR: str(lifeline.fileno())},
                process_group=0,
                close_fds=False,  # what we were given, such as a file with a passphrase, is for the exporter
            )
        except OSError as e:  # no memory, too many processes: may pass
            errors.warn("jmp", f"the exporter cannot be started: {e.strerror}")
            return False
        child.returncode = 0  # the family waits for it
        self._family.lead(child.pid)
        if self._is_stopping:  # the signal came before there was somebody to get it
            self._send(signal.SIGTERM)
        return True

    def _wait(self, timeout: float | None) -> None:
        if timeout is None or timeout > 0:
            self._wakeups.wait(timeout)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._is_stopping and (left := end - time.monotonic()) > 0:
            self._wakeups.wait(left)
            self._family.reap()

    def _forward(self, signum: int) -> None:
        self._is_stopping = True
        if self._kill_at is None and signum != signal.SIGHUP:  # with that, an exporter may end its lease first
            self._kill_at = time.monotonic() + _LATEST
        self._send(signum)

    def _send(self, signum: int) -> None:
        if self._family.leader and self._family.status is None:
            with suppress(ProcessLookupError):
                os.kill(self._family.leader, signum)


def _read_status(lifeline: socket.socket) -> int | None:
    """What the exporter wrote before it ended: the exit status that it wanted to end with."""
    lifeline.setblocking(False)
    said = b""
    with suppress(OSError):
        said = lifeline.recv(65536)
    lines = said.split()
    return int(lines[-1]) if lines else None


def _final(status: int, told: int | None) -> int:
    """Our exit status; an exporter that ended without a word did not end in order, whatever its status."""
    if status < 0:
        return 128 - status
    return errors.FAILED if status == errors.OK and told is None else status


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
