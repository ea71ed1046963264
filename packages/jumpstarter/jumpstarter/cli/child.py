"""A command in the foreground: it has the terminal, and the signals that were meant for it.

On a terminal the child is a job of its own, as a shell would start it: Ctrl-C and Ctrl-Z reach it alone, and the
terminal comes back to us when it stops or ends. Where our input or output is something else, the terminal belongs to
the whole pipeline, so the child stays in our group. Without a terminal it has a group of its own.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

from .errors import CommandError
from .wakeups import Wakeups

GRACE = 5.0
"""Seconds between the signal that asks the child to end and the one that makes it."""

_FROM_KEYBOARD = (signal.SIGINT, signal.SIGQUIT)
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def run_child(command: Sequence[str], environment: Mapping[str, str], *, is_shell: bool = False) -> int:
    """Run a command until it ends; its status, or 128 + the signal that killed it.

    Raises CommandError with the shells' statuses 127 (not found) and 126 (cannot be executed).
    An interactive shell ignores SIGTERM, so `is_shell` has it followed by SIGHUP.
    """
    with Wakeups() as wakeups:
        child = _Child(is_shell, wakeups)
        with _watcher() as watch:
            try:
                process = subprocess.Popen(command, env=environment, process_group=0 if child.has_group else None)
            except OSError as e:
                raise _cannot_start(command[0], e) from e
            watch(f"-{process.pid}" if child.has_group else str(process.pid))
            status = child.wait(process)
    return status if status >= 0 else 128 - status


_WATCH = """\
read -r target || exit
read -r line && exit
for signal in HUP TERM CONT; do kill -s $signal -- "$target"; done
sleep 5
kill -s KILL -- "$target"
"""
"""What waits for our end: a first line says whom to end, a second one that all is well; without that we were killed."""


@contextmanager
def _watcher() -> Generator[Callable[[str], None]]:
    """Make what ends the command should we be killed meanwhile: the devices are somebody else's then.

    It is there before the command, and is told then which process, or `-` and which group, that is.
    """
    try:
        watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "jmp shell"],
            env={"PATH": os.defpath},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what the terminal sends is not for it
        )
    except OSError:  # no more processes: then without
        yield lambda target: None
        return
    end = b""

    def watch(target: str) -> None:
        nonlocal end
        end = b"\n"
        assert watcher.stdin is not None
        with suppress(OSError):
            watcher.stdin.write(f"{target}\n".encode())
            watcher.stdin.flush()

    try:
        yield watch
    finally:
        with suppress(OSError, subprocess.TimeoutExpired):  # it ends by itself, if not now
            watcher.communicate(end, timeout=1)


def _cannot_start(command: str, error: OSError) -> CommandError:
    if error.errno == errno.ENOENT:
        return CommandError(f"{command}: command not found; is it installed, and on PATH?", 127)
    hint = "; chmod +x makes it a command" if error.errno == errno.EACCES else ""
    return CommandError(f"{command}: {(error.strerror or str(error)).lower()}{hint}", 126)


class _Child:
    def __init__(self, is_shell: bool, wakeups: Wakeups) -> None:
        self._wakeups = wakeups
        wakeups.forward = self.forward
        self._terminal = _our_terminal()
        self._is_shell = is_shell
        self.has_group = self._terminal is not None or not _shares_terminal()
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._told_to_end = False

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of the process, and give it the terminal meanwhile."""
        self._process = process
        for signum in self._early:
            self.forward(signum)
        status = self._wait_as_job(process, self._terminal) if self._terminal is not None else self._next_end(process)
        process.returncode = os.waitstatus_to_exitcode(status)
        if self._told_to_end and self.has_group:
            _end_group(process.pid)
        return process.returncode

    def _next_end(self, process: subprocess.Popen[bytes], options: int = 0) -> int:
        """What waitpid says of the process, as soon as it has something to say; signals are forwarded meanwhile."""
        while True:
            pid, status = os.waitpid(process.pid, options | os.WNOHANG)
            if pid:
                return status
            self._wakeups.wait()

    def forward(self, signum: int) -> None:
        """Pass a signal of ours to the child, or to its whole group."""
        if self._process is None:
            self._early.append(signum)
            return
        if signum in _FROM_KEYBOARD and not self.has_group:
            return  # the terminal sent it to the child, too
        self._send(signum)
        if signum in _ENDING and not self._told_to_end:
            self._told_to_end = True
            if self._is_shell:
                self._send(signal.SIGHUP)
            self._send(signal.SIGCONT)
            timer = Timer(GRACE, self._send, [signal.SIGKILL])
            timer.daemon = True
            timer.start()

    def _send(self, signum: int) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            if self.has_group:
                os.killpg(process.pid, signum)
            else:
                os.kill(process.pid, signum)

    def _wait_as_job(self, process: subprocess.Popen[bytes], terminal: int) -> int:
        ours = _modes(terminal)
        theirs = None
        _give_terminal(terminal, process.pid)
        self._send(signal.SIGCONT)  # it may have asked for the terminal before it had it
        while os.WIFSTOPPED(status := self._next_end(process, os.WUNTRACED)):
            if os.WSTOPSIG(status) not in (signal.SIGTTIN, signal.SIGTTOU):
                theirs = _modes(terminal)
                _give_terminal(terminal, os.getpgrp())
                _set_modes(terminal, ours)
                os.kill(os.getpid(), signal.SIGTSTP)  # our shell sees a stopped job; it wakes us
            if os.tcgetpgrp(terminal) in (os.getpgrp(), process.pid):
                _give_terminal(terminal, process.pid)
                _set_modes(terminal, theirs)
            self._send(signal.SIGCONT)
        _give_terminal(terminal, os.getpgrp())
        if os.WIFSIGNALED(status):
            _set_modes(terminal, ours)  # whoever is killed leaves the modes behind
        return status


def _our_terminal() -> int | None:
    """The terminal, where it is ours alone to give: we are in its foreground, and nobody is piped to us."""
    try:
        terminal = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
        if os.isatty(terminal) and os.isatty(1) and os.tcgetpgrp(terminal) == os.getpgrp():
            return terminal
    except (OSError, ValueError):  # closed, or the terminal of another session
        pass
    return None


def _shares_terminal() -> bool:
    """Whether our process group is in the foreground of a terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _give_terminal(terminal: int, group: int) -> None:
    """Put a process group into the foreground; we may be in the background ourselves."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(terminal, group)
    except OSError:  # it has hung up, or the group has ended
        pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _modes(terminal: int) -> list[object] | None:
    try:
        return termios.tcgetattr(terminal)
    except termios.error:
        return None


def _set_modes(terminal: int, modes: list[object] | None) -> None:
    if modes is not None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        with suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, modes)  # pyright: ignore[reportArgumentType]
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_group(group: int) -> None:
    """Wait until a process group is empty, and kill what is left of it after GRACE."""
    deadline = time.monotonic() + GRACE
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            if not _has_living(group):
                return
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)


def _has_living(group: int) -> bool:
    """Whether there are other processes than zombies in a group: those are left where nobody reaps orphans."""
    if not sys.platform.startswith("linux"):
        return True
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, found, *_ = stat.read_text(errors="replace").rpartition(") ")[2].split()
            if int(found) == group and state not in "ZX":
                return True
    return False
