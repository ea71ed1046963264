"""The way from a medium to a byte stream."""

from __future__ import annotations

import hashlib
import mmap

from anyio.abc import AnyByteSendStream
from jumpstarter.streams.threads import in_thread

from .common import Stage, TransferResult
from .medium import Medium
from .tracker import Tracker

STEP = 1 << 20
"""Bytes that are read and sent at once."""


async def read_image(medium: Medium, stream: AnyByteSendStream, tracker: Tracker) -> TransferResult:
    """Send the whole content of a medium to a stream."""
    digest = hashlib.sha256()
    buffer = memoryview(mmap.mmap(-1, STEP))
    size = await in_thread(medium.size)
    at = 0

    def step() -> bytes:
        count = medium.read(buffer, at, "read")
        data = bytes(buffer[:count])
        digest.update(data)
        return data

    with tracker.during(Stage.READ, size):
        await in_thread(medium.forget)
        while data := await in_thread(step):
            await stream.send(data)
            at += len(data)
            tracker.count(len(data))
    return TransferResult(
        bytes=at,
        seconds=tracker.seconds,
        sha256=digest.hexdigest(),
        format="raw",
        stages=dict(tracker.results),
    )
