"""A medium that is open for one transfer: a block device of the host, or a file that stands for one.

Everything in here blocks, and belongs into a worker thread. Facts: open(2), blkdev ioctls of linux/fs.h.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import struct
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .common import StorageError, size_text
from .devices import Rules, check_device

CHUNK = 4 << 20
"""Bytes of one system call; small enough that the slowest card can be cancelled within a second or two."""

UDEV = 5.0
"""Seconds that udev gets to look at a medium that has just appeared."""

HEAD = 1 << 20
"""Bytes at the start of a medium that are cleared first and written last: what is incomplete does not boot."""

BLKGETSIZE64, BLKSSZGET, BLKROGET = 0x80081272, 0x1268, 0x125E
BLKZEROOUT, BLKFLSBUF, BLKRRPART, BLKGETDISKSEQ = 0x127F, 0x1261, 0x125F, 0x80081280

_ZEROS = bytes(CHUNK)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)


@dataclass(frozen=True)
class Extent:
    """A part of a medium."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


class Medium:
    """Writes and reads one medium. Its methods raise StorageError, which says at which stage, where, and why."""

    def __init__(self, path: Path, fd: int, *, capacity: int | None, is_device: bool, direct: bool) -> None:
        self.path = path
        self.capacity = capacity
        """Bytes that it has; None for a file that takes the size of its image."""
        self.is_device = is_device
        self.written = 0
        """Bytes that were written as data."""
        self._fd = fd
        self._direct = direct
        self._sector = _ioctl_int(fd, BLKSSZGET) if is_device else 4096 if direct else 1
        self._staging = mmap.mmap(-1, CHUNK)
        self._at, self._fill = 0, 0
        self._head = bytearray()
        self._head_extents: list[Extent] = []
        self._sequence = disk_sequence(fd) if is_device else 0

    # writing

    def begin(self) -> None:
        """Clear the start of the medium, so that what follows is not taken for a whole image."""
        with self._failing("write", 0):
            if self.is_device:
                self._zero(0, min(HEAD, self.capacity or 0))
                self._sync("write")
            else:
                os.ftruncate(self._fd, 0)
                os.ftruncate(self._fd, self.capacity or 0)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write data; they may still be on their way when this returns. The start of the medium waits for `finish`."""
        self._check_fits(offset, len(data))
        view = memoryview(data)
        if offset < HEAD:
            kept = view[: HEAD - offset]
            end = offset + len(kept)
            self._head.extend(bytes(max(0, end - len(self._head))))
            self._head[offset:end] = kept
            self._head_extents.append(Extent(offset, len(kept)))
            offset, view = end, view[len(kept) :]
        self.written += len(data)
        self._stage(offset, view)

    def zero(self, offset: int, length: int) -> None:
        """Make a part of the medium read as zeros, by the cheapest means that it has."""
        self._check_fits(offset, length)
        self._flush_staging()
        start = max(offset, HEAD)  # the rest is clear already, as all of a file is
        if self.is_device and start < offset + length:
            with self._failing("write", start):
                self._zero(start, offset + length - start)

    def flush(self) -> None:
        """Bring to the medium what was written, its start last. A failure here is final: nothing is known to be there.

        After a failed fsync, Linux forgets what it could not write, and a second one lies.
        """
        self._flush_staging()
        self._sync("flush")

    def finish(self, size: int) -> None:
        """Write the start of the medium, and give a file the size of its image."""
        for extent in self._head_extents:
            self._stage(extent.offset, memoryview(self._head)[extent.offset : extent.end])
        self._flush_staging()
        if self.capacity is None:
            with self._failing("write", size):
                os.ftruncate(self._fd, size)
        self._sync("flush")

    def spoil(self) -> None:
        """Clear the start again, where that is possible: what is on the medium is not what it should be."""
        with suppress(OSError):
            self._zero(0, min(HEAD, self.size()))
            os.fsync(self._fd)

    def _check_fits(self, offset: int, length: int) -> None:
        if self.capacity is not None and offset + length > self.capacity:
            raise StorageError(
                f"write {self.path}: the image does not fit: the medium has {self.capacity} bytes "
                f"({size_text(self.capacity)}), and the image goes on to {offset + length} at least",
                "use a larger medium, or a smaller image",
            )

    def _stage(self, offset: int, view: memoryview) -> None:
        while view:
            if self._fill and offset != self._at + self._fill:
                self._flush_staging()
            if not self._fill:
                self._at = offset
            # chunks end at multiples of their size, so that a start off the beat costs only once
            room = CHUNK - self._at % CHUNK - self._fill
            part = view[:room]
            self._staging[self._fill : self._fill + len(part)] = part
            self._fill += len(part)
            if len(part) == room:
                self._flush_staging()
            offset, view = offset + len(part), view[len(part) :]

    def _flush_staging(self) -> None:
        if not self._fill:
            return
        start, size, self._fill = self._at, self._fill, 0
        with self._failing("write", start):
            before, after = start % self._sector, -(start + size) % self._sector
            if before or after:
                self._write_unaligned(start, size)
            else:
                self._pwrite(memoryview(self._staging)[:size], start)

    def _write_unaligned(self, start: int, size: int) -> None:
        """Write what does not begin or end with a sector: with the rest of these sectors as it is on the medium."""
        first = start - start % self._sector
        last = start + size + -(start + size) % self._sector
        buffer = memoryview(mmap.mmap(-1, last - first))
        for sector in {first, last - self._sector}:
            os.preadv(self._fd, [buffer[sector - first : sector - first + self._sector]], sector)  # short: zeros
        buffer[start - first : start - first + size] = memoryview(self._staging)[:size]
        self._pwrite(buffer, first)

    def _pwrite(self, view: memoryview, offset: int) -> None:
        while view:
            count = os.pwrite(self._fd, view, offset)
            if count == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            offset, view = offset + count, view[count:]

    def _zero(self, offset: int, length: int) -> None:
        step = CHUNK  # a device without a command for it is written as slowly as by data
        while length > 0:
            part = min(step, length)
            aligned = offset % self._sector == 0 and part % self._sector == 0
            if not (aligned and self.is_device and self._zero_out(offset, part)):
                for start in range(offset, offset + part, CHUNK):
                    self._stage(start, memoryview(_ZEROS)[: min(CHUNK, offset + part - start)])
                self._flush_staging()
            offset, length = offset + part, length - part

    def _zero_out(self, offset: int, length: int) -> bool:
        try:
            fcntl.ioctl(self._fd, BLKZEROOUT, struct.pack("QQ", offset, length))
        except OSError as e:
            if e.errno in _UNSUPPORTED:
                return False
            raise
        return True

    def _sync(self, stage: str) -> None:
        try:
            os.fsync(self._fd)
        except OSError as e:
            raise StorageError(
                f"{stage} {self.path}: {_reason(e)} when the data were brought to the medium; "
                "what was written may be lost",
                "write it again, and replace the medium if that fails too",
            ) from e

    # reading back

    def forget(self) -> None:
        """Drop what the system remembers of the content, so that reading asks the medium itself."""
        if self.is_device:
            with suppress(OSError):
                fcntl.ioctl(self._fd, BLKFLSBUF)
        with suppress(OSError):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def read(self, buffer: memoryview, offset: int, stage: str = "verify") -> int:
        """Read into a page-aligned buffer; returns how many bytes, fewer than it takes only at the end."""
        done = 0
        with self._failing(stage, offset):
            while done < len(buffer):
                count = os.preadv(self._fd, [buffer[done:]], offset + done)
                done += count
                if count == 0 or (self._direct and count % self._sector):
                    break
        return done

    def size(self) -> int:
        """Bytes that can be read now."""
        return self.capacity if self.is_device and self.capacity is not None else os.fstat(self._fd).st_size

    def check_same(self) -> None:
        """Raise StorageError where the medium is another one than at the beginning, or a file that was removed."""
        if not self.is_device and not self._is_in_place():
            raise StorageError(
                f"{self.path}: it was removed or replaced meanwhile, and what was written is lost",
                "leave it in place until the transfer is done, and write it again",
            )
        if self.is_device and (now := disk_sequence(self._fd)) != self._sequence:
            raise StorageError(
                f"{self.path}: the medium was changed meanwhile (disk sequence {self._sequence}, now {now})",
                "leave it in until the transfer is done, and write it again",
            )

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    @contextmanager
    def _failing(self, stage: str, offset: int) -> Generator[None]:
        try:
            yield
        except StorageError:
            raise
        except OSError as e:
            raise StorageError(
                f"{stage} {self.path} at byte {offset} ({size_text(offset)}): {_reason(e)}",
                _HINTS.get(e.errno or 0, ""),
            ) from e


_HINTS = {
    errno.ENOSPC: "make room, or use a larger medium",
    errno.EIO: "check the medium, its reader and the cable, and write it again",
    errno.ENODEV: "the device is gone: plug it in again, and write it again",
    errno.ENXIO: "the device is gone: plug it in again, and write it again",
    errno.ENOMEDIUM: "there is no medium in the reader: put it in, and write it again",
    errno.EROFS: "remove the write protection",
    errno.EPERM: "the medium does not let itself be written: remove the write protection",
}


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _ioctl_int(fd: int, request: int, form: str = "i") -> int:
    return struct.unpack(form, fcntl.ioctl(fd, request, bytes(struct.calcsize(form))))[0]


def device_size(fd: int) -> int:
    """Bytes of an open block device; 0 while it has no medium."""
    return _ioctl_int(fd, BLKGETSIZE64, "Q")


def disk_sequence(fd: int) -> int:
    """A number that changes with the medium of a device; 0 where the kernel, before 5.15, has none."""
    with suppress(OSError):
        return _ioctl_int(fd, BLKGETDISKSEQ, "Q")
    return 0


@contextmanager
def open_medium(path: Path, *, write: bool, rules: Rules) -> Generator[Medium]:
    """Open a block device, or a file that stands for one, for one transfer.

    A device is refused unless the rules allow it; see `check_device`. StorageError says why.
    """
    found = _stat(path, write)
    is_device = stat.S_ISBLK(found.st_mode)
    if is_device:
        path = path.resolve()
        check_device(path, found.st_rdev, rules, write=write)
    elif found.st_mode and not stat.S_ISREG(found.st_mode):
        raise StorageError(f"{path} is neither a block device nor a file", "name one of the two")
    fd, direct = _open(path, write, is_device)
    try:
        yield _medium(path, fd, rules, is_device=is_device, direct=direct, write=write)
    finally:
        os.close(fd)
    if is_device and write:
        reread_partitions(path)


def _stat(path: Path, write: bool) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as e:
        if write and path.parent.is_dir() and not path.is_relative_to("/dev"):
            return os.stat_result((0,) * 10)  # a file that will be made
        raise StorageError(f"{path} is not there", "check that the medium is plugged in, and the path") from e
    except OSError as e:
        raise StorageError(f"{path}: {_reason(e)}") from e


def _open(path: Path, write: bool, is_device: bool) -> tuple[int, bool]:
    """An open file, and whether it passes the page cache by."""
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
                raise StorageError(f"{path} is in use by another program", "wait for it, or end it") from e
        time.sleep(0.05)


def _not_opened(path: Path, error: OSError) -> StorageError:
    if error.errno == errno.EBUSY:
        return StorageError(f"{path} is mounted, or in use by another program", "unmount it, or end the other program")
    if error.errno == errno.ENOMEDIUM:
        return StorageError(f"{path}: there is no medium in the reader", "put it in, or switch the mux to the host")
    hint = "give the exporter's user the right to use it" if error.errno in (errno.EACCES, errno.EPERM) else ""
    return StorageError(f"{path} cannot be opened: {_reason(error)}", hint or _HINTS.get(error.errno or 0, ""))


def _medium(path: Path, fd: int, rules: Rules, *, is_device: bool, direct: bool, write: bool) -> Medium:
    capacity = device_size(fd) if is_device else rules.size_bytes
    if is_device and not capacity:
        raise StorageError(f"{path}: there is no medium in the reader", "put it in, or switch the mux to the host")
    if is_device and rules.max_size_bytes is not None and capacity is not None and capacity > rules.max_size_bytes:
        raise StorageError(
            f"{path} has {size_text(capacity)}, more than max_size_bytes allows", "check that it is the right device"
        )
    if is_device and write and _ioctl_int(fd, BLKROGET):
        raise StorageError(f"{path} is read-only", "remove the write protection")
    return Medium(path, fd, capacity=capacity, is_device=is_device, direct=direct)


def write_back(path: Path) -> None:
    """Bring what the system holds back of a block device to its medium. StorageError where that fails."""
    try:
        if not stat.S_ISBLK(path.stat().st_mode):
            return
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # without a medium there is nothing to bring
    try:
        os.fsync(fd)
    except OSError as e:
        raise StorageError(f"flush {path}: {_reason(e)}; what was written may be lost", "write it again") from e
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
        if e.errno == errno.ENOENT and path.parent.is_dir() and not path.is_relative_to("/dev"):
            return None  # a file that will be made
        return _reason(e) if e.errno in _NOT_READY else None
    try:
        return None if device_size(fd) else "it has no bytes"
    finally:
        os.close(fd)
