"""The tie of an exporter to the parent that supervises it: each of them learns of the other's end."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress

from ..common.env import JMP_SUPERVISOR
from ..common.limits import SHUTDOWN
from . import errors


def attach() -> bool:
    """Tie this process to its supervisor, if it has one: tell it how we end, and end in order when it has died."""
    fd = os.environ.pop(JMP_SUPERVISOR, "")
    if not fd:
        return False
    line = socket.socket(fileno=int(fd))
    line.set_inheritable(False)

    def tell(status: int) -> None:
        with suppress(OSError):
            line.sendall(f"{status}\n".encode())

    errors.before_end(tell)
    threading.Thread(target=_follow, args=[line], daemon=True, name="lifeline").start()
    return True


def _follow(line: socket.socket) -> None:
    """End with the other end of the line, which says nothing as long as it lives."""
    with suppress(OSError):
        line.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SHUTDOWN)
    errors.exit_at_once(errors.FAILED)
