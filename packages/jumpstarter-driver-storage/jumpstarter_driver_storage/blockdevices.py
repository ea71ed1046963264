"""What the kernel offers for block devices: opening them for oneself, sizes, whether a medium is there, writing back.

Everything in here blocks. Facts: open(2), blkdev ioctls of linux/fs.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from contextlib import suppress
from pathlib import Path

from jumpstarter.common.openers import openers

from .common import StorageError

UDEV = 5.0
"""Seconds that udev gets to look at a medium that has just appeared."""

BLKGETSIZE64, BLKSSZGET, BLKROGET = 0x80081272, 0x1268, 0x125E
BLKZEROOUT, BLKFLSBUF, BLKRRPART, BLKGETDISKSEQ = 0x127F, 0x1261, 0x125F, 0x80081280

HINTS = {
    errno.ENOSPC: "make room, or use a larger medium",
    errno.EIO: "check the medium, its reader and the cable, and write it again",
    errno.ENODEV: "the device is gone: plug it in again, and write it again",
    errno.ENXIO: "the device is gone: plug it in again, and write it again",
    errno.ENOMEDIUM: "there is no medium in the reader: put it in, and write it again",
    errno.EROFS: "remove the write protection",
    errno.EPERM: "the medium does not let itself be written: remove the write protection",
}


def reason(error: OSError) -> str:
    """Why, as the system says it."""
    return (error.strerror or str(error)).lower()


def ioctl_int(fd: int, request: int, form: str = "i") -> int:
    """The number that an ioctl gives, whose form is one of struct's."""
    return struct.unpack(form, fcntl.ioctl(fd, request, bytes(struct.calcsize(form))))[0]


def device_size(fd: int) -> int:
    """Bytes of an open block device; 0 while it has no medium."""
    return ioctl_int(fd, BLKGETSIZE64, "Q")


def disk_sequence(fd: int) -> int:
    """A number that changes with the medium of a device; 0 where the kernel, before 5.15, has none."""
    with suppress(OSError):
        return ioctl_int(fd, BLKGETDISKSEQ, "Q")
    return 0


def names_device(path: Path) -> bool:
    """Whether a path is where block devices are, so that nobody makes a file there; /dev/shm has files only."""
    return path.is_relative_to("/dev") and not path.is_relative_to("/dev/shm")


def may_be_made(path: Path) -> bool:
    """Whether a file that is not there will be made when it is written."""
    return path.parent.is_dir() and not names_device(path)


def status_of(path: Path, write: bool) -> os.stat_result:
    """What a medium is; of a file that will be made, all zeros. StorageError where it is not there."""
    try:
        return path.stat()
    except FileNotFoundError as e:
        if write and may_be_made(path):
            return os.stat_result((0,) * 10)
        raise StorageError(f"{path} is not there", "check that the medium is plugged in, and the path") from e
    except OSError as e:
        raise StorageError(f"{path}: {reason(e)}") from e


def open_file(path: Path, write: bool, is_device: bool) -> tuple[int, bool]:
    """An open file, and whether it passes the page cache by; a device is for us alone. StorageError says why not."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | (os.O_EXCL if is_device else 0)
    if write and not is_device:
        flags |= os.O_CREAT
    for direct in (True, False):
        try:
            fd = os.open(path, flags | (os.O_DIRECT if direct else 0), 0o600)
        except OSError as e:
            if direct and e.errno == errno.EINVAL:
                continue
            raise _not_opened(path, e) from e
        try:
            _lock(fd, path)
        except BaseException:
            os.close(fd)
            raise
        return fd, direct
    raise AssertionError


def _lock(fd: int, path: Path) -> None:
    """Keep udev away from a device, once it has looked at what was plugged in, for which it takes the same lock."""
    end = time.monotonic() + UDEV
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as e:
            if time.monotonic() > end:
                raise StorageError(
                    f"{path} is in use by {openers(path, but=os.getpid())}", "wait for it, or end it"
                ) from e
        time.sleep(0.05)


def _not_opened(path: Path, error: OSError) -> StorageError:
    if error.errno == errno.EBUSY:
        return StorageError(
            f"{path} is mounted, or in use by {openers(path, but=os.getpid())}", "unmount it, or end the other program"
        )
    if error.errno == errno.ENOMEDIUM:
        return StorageError(f"{path}: there is no medium in the reader", "put it in, or switch the mux to the host")
    hint = "give the exporter's user the right to use it" if error.errno in (errno.EACCES, errno.EPERM) else ""
    return StorageError(f"{path} cannot be opened: {reason(error)}", hint or HINTS.get(error.errno or 0, ""))


def write_back(path: Path) -> None:
    """Bring what the system holds back of a block device to its medium.

    StorageError where that fails, or where somebody has the device for himself, who would write to it later.
    """
    try:
        if not stat.S_ISBLK(path.stat().st_mode):
            return
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_EXCL)
    except OSError as e:
        if e.errno == errno.EBUSY:  # the mounts that this process sees are none any more
            by = openers(path, but=os.getpid())
            raise StorageError(f"{path} is mounted in a container, or in use by {by}", "end that first") from e
        return  # without a medium there is nothing to bring
    try:
        os.fsync(fd)
    except OSError as e:
        raise StorageError(f"flush {path}: {reason(e)}; what was written may be lost", "write it again") from e
    finally:
        os.close(fd)


def reread_partitions(path: Path) -> None:
    """Let the kernel look for partitions again; devices that cannot have any do not mind."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, BLKRRPART)
        finally:
            os.close(fd)


_NOT_READY = (errno.ENOENT, errno.ENOMEDIUM, errno.EIO, errno.ENXIO)


def why_not_ready(path: Path) -> str | None:
    """Why a medium cannot be used yet; None for one that can, and for what will not change by waiting."""
    try:
        if not stat.S_ISBLK(path.stat().st_mode):
            return None
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        if e.errno == errno.ENOENT and may_be_made(path):
            return None
        return reason(e) if e.errno in _NOT_READY else None
    try:
        return None if device_size(fd) else "it has no bytes"
    finally:
        os.close(fd)
