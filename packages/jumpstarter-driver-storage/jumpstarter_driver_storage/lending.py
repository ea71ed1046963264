"""Files that are on the exporter's host already: the client lends it the open file, and sends none of it.

The client listens on an abstract unix socket, says its name on the stream (see `blocks.py`), and gives the descriptor
of the file to who connects. Nobody on another host, or in another network namespace, can: the file is sent to those.
Both ends have to be the same user, so that the exporter reads nothing by that which the client could not read itself.
Only Linux has such sockets.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from io import FileIO

from anyio import create_task_group, wait_readable
from jumpstarter.client import DriverClient
from jumpstarter.common.groups import ungrouped

NAME = 16
"""Bytes of a name, which are random."""

BORROW_TIMEOUT = 2.0
"""Seconds in which a file has to come from who listens on this host."""

_CREDENTIALS = struct.Struct("3i")  # ucred of unix(7): process, user, group


def is_lendable(client: DriverClient, file: FileIO) -> bool:
    """Whether the exporter may be on this host, and the file is one that can be read from its start."""
    endpoint = getattr(client.stub, "endpoint", None)
    is_near = endpoint is not None and not endpoint.is_tcp
    return is_near and sys.platform == "linux" and stat.S_ISREG(os.fstat(file.fileno()).st_mode)


@asynccontextmanager
async def lending(file: FileIO) -> AsyncGenerator[bytes]:
    """Lend a file, meanwhile, to a process of this user that asks for it by the name that this yields."""
    name = secrets.token_bytes(NAME)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, ungrouped():
        listener.setblocking(False)
        listener.bind(_address(name))
        listener.listen()
        async with create_task_group() as tasks:
            tasks.start_soon(_lend, listener, file)
            yield name
            tasks.cancel_scope.cancel()


async def _lend(listener: socket.socket, file: FileIO) -> None:
    while True:
        await wait_readable(listener)
        with suppress(OSError):  # who connected has gone
            connection, _ = listener.accept()
            with connection:
                if _user_of(connection) == os.geteuid():
                    socket.send_fds(connection, [b"F"], [file.fileno()])


def borrow(name: bytes) -> FileIO | None:
    """The file that the client lends by that name, at its start; None where it is not on this host. Blocks."""
    if sys.platform != "linux":
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(BORROW_TIMEOUT)
        try:
            connection.connect(_address(name))
            if _user_of(connection) != os.geteuid():
                return None
            _, [fd], *_ = socket.recv_fds(connection, 1, 1)
        except (OSError, ValueError):  # nobody listens here, or lends it
            return None
    try:
        # opened once more, for a position of its own: the client's is where the file is read if it is sent after all
        return FileIO(f"/proc/self/fd/{fd}") if stat.S_ISREG(os.fstat(fd).st_mode) else None
    except OSError:  # what the client has open may be more than this user could open now
        return None
    finally:
        os.close(fd)


def _address(name: bytes) -> str:
    return f"\0jumpstarter-{name.hex()}"


def _user_of(connection: socket.socket) -> int:
    """The user of the process at the other end, as it was when it connected or began to listen."""
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return user
