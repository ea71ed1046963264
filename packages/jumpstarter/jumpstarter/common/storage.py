"""Copying between a byte stream and a block device, for drivers of other packages.

Drivers of ours use jumpstarter-driver-storage, which also verifies what it wrote.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterable
from typing import Any

from anyio import fail_after, sleep
from anyio.abc import AnyByteSendStream
from anyio.to_thread import run_sync

BLOCK = 1 << 20
REPORT = 50 << 20
"""Bytes after which a line is logged."""

_LATER = (errno.ENOENT, errno.ENOMEDIUM, errno.EIO, errno.ENXIO)
"""What a card reader says while its medium is on the way."""


async def wait_for_storage_device(
    storage_device: str | os.PathLike[str],
    mode: str = "rb",
    timeout: float = 10,  # noqa: ASYNC109 the public release's own
    *,
    logger: logging.Logger | None = None,
) -> None:
    """Wait until a device can be opened with `mode` and has a medium. Raises TimeoutError after `timeout` s."""
    with fail_after(timeout):
        while not await run_sync(_has_medium, storage_device, mode):
            if logger is not None:
                logger.debug("waiting for a medium in %s", storage_device)
            await sleep(1)


def _has_medium(path: str | os.PathLike[str], mode: str) -> bool:
    flags = os.O_RDONLY if mode.startswith("r") and "+" not in mode else os.O_RDWR
    try:
        device = os.open(path, flags)
    except OSError as e:
        if e.errno in _LATER:
            return False
        raise
    try:
        return os.lseek(device, 0, os.SEEK_END) > 0
    except OSError as e:
        if e.errno in _LATER:
            return False
        raise
    finally:
        os.close(device)


async def write_to_storage_device(
    storage_device: str | os.PathLike[str],
    resource: AsyncIterable[bytes],
    timeout: float = 10,  # noqa: ASYNC109 the public release's own
    fsync_timeout: float = 900,
    leeway: float = 6,
    *,
    logger: logging.Logger | None = None,
) -> None:
    """Write a stream to a device from its beginning, and wait until it is on the medium, and `leeway` seconds more.

    Raises TimeoutError where no medium comes within `timeout` s, or it is not written back within `fsync_timeout` s,
    and OSError for what goes wrong; an error of the last step is final, since another try would hide it.
    """
    await wait_for_storage_device(storage_device, "wb", timeout, logger=logger)
    device = await run_sync(os.open, storage_device, os.O_WRONLY)
    try:
        written = 0
        async for data in resource:
            await run_sync(_write_all, device, data)
            written = _counted(written, len(data), "written to", storage_device, logger)
        with fail_after(fsync_timeout):
            await run_sync(os.fsync, device, abandon_on_cancel=True)
    finally:
        await run_sync(os.close, device)
    await sleep(leeway)


def _write_all(device: int, data: Any) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(device, view) :]


async def read_from_storage_device(
    storage_device: str | os.PathLike[str],
    resource: AnyByteSendStream,
    timeout: float = 10,  # noqa: ASYNC109 the public release's own
    *,
    logger: logging.Logger | None = None,
) -> None:
    """Read a device to its end into a stream. Raises TimeoutError where no medium comes within `timeout` s."""
    await wait_for_storage_device(storage_device, "rb", timeout, logger=logger)
    device = await run_sync(os.open, storage_device, os.O_RDONLY)
    try:
        done = 0
        while data := await run_sync(os.read, device, BLOCK):
            await resource.send(data)
            done = _counted(done, len(data), "read from", storage_device, logger)
    finally:
        await run_sync(os.close, device)


def _counted(before: int, more: int, what: str, path: object, logger: logging.Logger | None) -> int:
    after = before + more
    if logger is not None and before // REPORT != after // REPORT:
        logger.info("%d MiB %s %s", after >> 20, what, path)
    return after
