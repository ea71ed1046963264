"""Processes that tests start and look for in /proc."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

DAEMON = """\
import os, signal, sys
ready, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)
        print("daemon on", os.ttyname(1) if os.isatty(1) else "a pipe", flush=True)
        os.write(told, b"1")
        os.execvp("sleep", ["sleep", sys.argv[1]])
    os._exit(0)
os.wait()
os.read(ready, 1)
"""
"""A daemon as they are in the books: forked twice, in a session of its own, deaf to signals, on its parent's output."""

_number = count()


class Family:
    """Processes that are known by an argument which nobody else has."""

    def __init__(self) -> None:
        self.tag = f"98{os.getpid()}.{next(_number)}"
        """Seconds for `sleep`."""

    def pids(self, command: str = "") -> list[int]:
        """Those that live, or of them those whose command line begins so."""
        found: list[int] = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                line = entry.read_bytes().replace(b"\0", b" ")
                if (
                    self.tag.encode() in line
                    and line.startswith(command.encode())
                    and b"State:\tZ" not in (entry.parent / "status").read_bytes()
                ):
                    found.append(int(entry.parent.name))
        return found

    def wait_until(self, number: int, command: str = "") -> None:
        """Wait until so many live. A shell that has forked counts as two, also before the command of the other runs."""
        deadline = time.monotonic() + 60
        while len(found := self.pids(command)) != number:
            assert time.monotonic() < deadline, f"{len(found)} processes, not {number}"
            time.sleep(0.01)
