"""Processes that never outlive what they were started for: not their owner's `with`, and not their owner."""

from __future__ import annotations

import errno
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from . import guardian
from .environment import allowed_environment
from .guardian import GRACE

_START_TIMEOUT = 20.0
"""Seconds until a guardian that says nothing is given up; it takes 30 ms on an idle machine."""

_LOOK = 0.1
"""Seconds after which one who waits looks again: another thread may have read the news."""

_MARK = "_JMP_FAMILY"
"""Variable by which the members of a family are known should their guardian be killed."""


class GuardedProcess:
    """A command that takes its whole family along when it ends, and ends when this process does.

    The family is everything that the command starts, in whatever group or session. It ends with the command, at
    `end()`, at the end of the context, and when this process dies, even by SIGKILL: SIGTERM first, SIGKILL after a
    grace. Works from any thread, and without blocking an event loop: `fileno()` is readable when there is news.

    Takes the streams as `subprocess.Popen` does. Without `env` the command gets an allow-listed part of ours.
    Raises OSError when the command cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        terminal: bool = False,
    ) -> None:
        """With `terminal`, standard input is one, and becomes the command's controlling terminal."""
        self.returncode: int | None = None
        """Exit status, or the negative number of a signal; None as long as the command runs."""
        self.left: list[int] = []
        """Members of the family that could not be ended: those of other users, or stuck in the kernel."""
        self.pid = 0
        self._mark = secrets.token_hex(16)
        self._is_gone = False
        self._buffer = b""
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        try:
            with theirs:
                self._guardian = _start_guardian(theirs, stdin, stdout, stderr)
        except BaseException:
            self._control.close()
            raise
        self.stdin, self.stdout, self.stderr = self._guardian.stdin, self._guardian.stdout, self._guardian.stderr
        try:
            environment = {**(allowed_environment() if env is None else env), _MARK: self._mark}
            self._start(argv, environment, cwd, terminal)
        except BaseException:
            self._finish()
            self._close_streams()
            raise

    def _start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None,
        terminal: bool,
    ) -> None:
        texts = [os.fsdecode(arg) for arg in argv]
        if any("\0" in text for text in (*texts, *env, *env.values())):
            raise OSError(errno.EINVAL, "a command cannot contain NUL characters", texts[0])
        order = {"argv": texts, "env": dict(env), "cwd": os.fsdecode(cwd) if cwd is not None else None}
        with suppress(OSError):  # then it says nothing, either
            self._control.sendall(json.dumps({**order, "terminal": terminal}).encode() + b"\n")
        deadline = time.monotonic() + _START_TIMEOUT
        while self.pid == 0:
            if self._is_gone or not self._await_news(deadline - time.monotonic()):
                raise OSError(errno.EIO, "the process that watches over the command did not start", texts[0])
            self._read()

    def fileno(self) -> int:
        """What becomes readable when `poll()` has something to say."""
        return self._control.fileno()

    @property
    def is_gone(self) -> bool:
        """Whether nobody of the family is left, or only those in `left`."""
        self.poll()
        return self._is_gone

    def poll(self) -> int | None:
        """How the command has ended, None as long as it runs; its family may still be ending then."""
        with self._lock:
            if not self._is_gone and self._await_news(0):
                self._read()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the command, and return how it ended. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = float("inf") if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"process {self.pid} did not end within {timeout:g} s")
            self._await_news(min(left, _LOOK))
        return status

    def end(self, grace: float = GRACE) -> None:
        """Have the family ended: SIGTERM now, SIGKILL after `grace` seconds. Does not wait."""
        with suppress(OSError):  # it has ended
            self._control.sendall(json.dumps({"end": grace}).encode() + b"\n")

    def close(self, grace: float = GRACE) -> None:
        """Have the family ended, and return when it is gone, after the grace and some seconds at the latest."""
        if not self.is_gone:
            self.end(grace)
            deadline = time.monotonic() + grace + 2 * guardian.PATIENCE
            while not self.is_gone and self._await_news(deadline - time.monotonic()):
                pass
        self._finish()
        self._close_streams()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await_news(self, timeout: float | None) -> bool:
        if self._is_gone:
            return True
        poll = select.poll()  # takes any descriptor, select() only the first 1024
        poll.register(self._control, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0, int(timeout * 1000))))

    def _read(self) -> None:
        """Take in what the guardian says; there is something."""
        try:
            data = self._control.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self._lost()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if "failed" in message:
                self._is_gone = True
                raise OSError(*message["failed"])
            self.pid = message.get("started", self.pid)
            self.returncode = message.get("exited", self.returncode)
            if "gone" in message:
                self.left = message["gone"]
                self._is_gone = True

    def _lost(self) -> None:
        """The guardian was killed: the command died with it, and we look for the rest."""
        self._is_gone = True
        if self.pid:
            self.returncode = -signal.SIGKILL if self.returncode is None else self.returncode
            self.left = _kill_marked(f"{_MARK}={self._mark}".encode())

    def _finish(self) -> None:
        """Let go of the guardian, which ends when it is alone."""
        self._control.close()
        self._is_gone = True
        try:
            self._guardian.wait(guardian.SHORT_GRACE + 2 * guardian.PATIENCE)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()

    def _close_streams(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with suppress(OSError):  # what was not yet written goes nowhere
                    stream.close()


def _start_guardian(
    control: socket.socket, stdin: int | IO[Any] | None, stdout: int | IO[Any] | None, stderr: int | IO[Any] | None
) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-I", "-S", guardian.__file__, str(control.fileno())]
    return subprocess.Popen(
        program,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=allowed_environment(),
        pass_fds=[control.fileno()],
        start_new_session=True,
    )


def _kill_marked(mark: bytes) -> list[int]:
    """Kill the processes that have a variable in their environment; returns those that are left."""
    deadline = time.monotonic() + 1
    while (found := _marked(mark)) and time.monotonic() < deadline:
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return found


def _marked(mark: bytes) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # of somebody else, or it has ended
            if mark in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
    return found
