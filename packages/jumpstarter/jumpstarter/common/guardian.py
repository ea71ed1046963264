"""A command and all that it starts, as one family that ends as a whole.

Run as a program by `processes`, between one of our processes and a command of it: `python -I -S guardian.py FD`. The
guardian starts the command, adopts every process whose own parent ends (PR_SET_CHILD_SUBREAPER, prctl(2)), and ends
them all when the command has ended, when it is told to, and when the other end of its socket FD closes because who
asked for the command is dead. So it imports nothing but the standard library, and has no threads: what runs between
fork and exec is safe here. Where orphans cannot be adopted (not Linux), it ends the command's process group.
"""

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

GRACE = 5.0
"""Seconds between the signal that asks a family to end and the one that makes it."""

SHORT_GRACE = 2.0
"""The same where nobody wants the family any more: the command has ended, or who asked for it is dead."""

PATIENCE = 5.0
"""Seconds that killed processes have to be gone; one in an uninterruptible wait, or of another user, is left behind."""

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def _prctl(option: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        return ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def adopt_orphans() -> bool:
    """Be the parent of every descendant whose own parent ends; False where the system has no such thing."""
    return _prctl(_SET_CHILD_SUBREAPER, 1)


def descendants(root: int) -> list[int]:
    """The processes below one that still run, nearest first; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    living: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent, *_ = entry.read_bytes().rpartition(b") ")[2].split()
            pid = int(entry.parent.name)
            children.setdefault(int(parent), []).append(pid)
            if state not in (b"Z", b"X"):
                living.add(pid)
    found = list(children.get(root, ()))
    for pid in found:  # grows meanwhile
        found += children.get(pid, ())
    return [pid for pid in found if pid in living]


class Family:
    """What descends from one command that this process starts, and the command's process group.

    A process that has one may start nothing else: it waits for all its children.
    """

    def __init__(self) -> None:
        self._adopts = adopt_orphans()
        self.leader = 0
        """The command; 0 as long as there is none."""
        self.status: int | None = None
        """How it ended: its exit status, or the negative number of the signal that killed it."""

    def lead(self, pid: int) -> None:
        """This child is the command from now on, and leads a process group."""
        self.leader, self.status = pid, None

    def reap(self) -> bool:
        """Take note of who has ended; whether anybody is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return not self._adopts and self._has_group()
            if pid == 0:
                return True
            if pid == self.leader:
                self.status = os.waitstatus_to_exitcode(status)

    def end(self, grace: float) -> list[int]:
        """SIGTERM to all of them, SIGKILL to who is left after so many seconds; returns whom even that did not end."""
        if not self.reap():
            return []
        self.signal(signal.SIGTERM, signal.SIGCONT)
        kill_at = time.monotonic() + grace
        while self.reap():
            now = time.monotonic()
            if now > kill_at + PATIENCE:
                return self._members()
            if now >= kill_at:
                self.signal(signal.SIGKILL)
            time.sleep(0.01)
        return []

    def signal(self, *signums: int) -> None:
        """Send signals to everybody."""
        members = self._members()
        for signum in signums:
            with suppress(ProcessLookupError, PermissionError):
                if self.leader and not self._adopts:
                    os.killpg(self.leader, signum)
            for pid in members:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signum)

    def _members(self) -> list[int]:
        return descendants(os.getpid())

    def _has_group(self) -> bool:
        try:
            os.killpg(self.leader, 0)
        except PermissionError:  # what macOS says of zombies
            return False
        except ProcessLookupError:
            return False
        return True


class _Guardian:
    """The program: one family, and the socket to who wants it."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lines = control.makefile("rb")
        self._family = Family()
        self._wakeup, wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup, False)
        for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(signum, lambda signum, frame: None)  # not SIG_IGN, which the command would inherit
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)

    def run(self) -> None:
        """Start the command, wait for its end or the end of who wants it, and leave nobody behind."""
        line = self._hear()
        if not line:  # it died between starting us and telling us what for
            return
        try:
            self._start(**json.loads(line))
        except OSError as e:
            self._tell(failed=[e.errno, e.strerror, e.filename])
            return
        try:
            self._tell(started=self._family.leader)
            grace = self._watch()
            if grace is not None:
                self._family.end(grace)
            if self._family.status is not None:
                self._tell(exited=self._family.status)
        finally:
            self._tell(gone=self._family.end(SHORT_GRACE))

    def _start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None, terminal: bool) -> None:
        parent = os.getpid()

        def prepare() -> None:
            _prctl(_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            if terminal:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        command = subprocess.Popen(argv, env=env, cwd=cwd, start_new_session=True, preexec_fn=prepare)
        self._family.lead(command.pid)
        command.returncode = 0  # we wait for it ourselves
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):  # whoever reads the command's output shall see its end
            os.dup2(null, fd)

    def _watch(self) -> float | None:
        """Wait for the command's end, or for a reason to end it: then with that grace."""
        while self._family.status is None:
            ready, _, _ = select.select([self._control, self._wakeup], [], [])
            if self._wakeup in ready and signal.SIGTERM in os.read(self._wakeup, 512):
                return SHORT_GRACE
            if self._control in ready:
                line = self._hear()
                return float(json.loads(line)["end"]) if line else SHORT_GRACE
            self._family.reap()
        return None

    def _hear(self) -> bytes:
        """The next line from who wants the command; empty if that is dead."""
        try:
            return self._lines.readline()
        except ConnectionResetError:  # it died before it had read all that we said
            return b""

    def _tell(self, **message: Any) -> None:
        with suppress(OSError):  # nobody is there to hear it
            self._control.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _socket:
        _Guardian(_socket).run()
