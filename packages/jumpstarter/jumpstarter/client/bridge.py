"""Joins a byte stream of a driver with the standard streams of this process."""

from __future__ import annotations

import os
import sys
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..streams.blocking import BlockingStream

_CHUNK = 1 << 16


def join(stream: BlockingStream) -> None:
    """Send what stdin has and write what comes to stdout, until the device ends.

    The end of stdin is passed on, and what the device still has to say is waited for. Bytes pass as they are.
    """
    from anyio import EndOfStream

    sender = Thread(target=_send, args=[stream], name="stdin", daemon=True)  # its read may never end
    sender.start()
    while True:
        try:
            data = stream.receive()
        except EndOfStream:
            return
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _send(stream: BlockingStream) -> None:
    from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

    try:
        while data := _read():
            stream.send(data)
        stream.send_eof()
    except (BrokenResourceError, ClosedResourceError, EndOfStream, RuntimeError):
        return  # the other direction says why


def _read() -> bytes:
    """The next bytes of stdin, as many as there are; none where it has ended, or is closed."""
    try:
        return os.read(0, _CHUNK)
    except OSError:
        return b""
