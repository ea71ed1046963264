"""A medium that is open for one transfer: a block device of the host, or a file that stands for one.

Everything in here blocks, and belongs into a worker thread.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from .blockdevices import (
    BLKFLSBUF,
    BLKROGET,
    BLKSSZGET,
    BLKZEROOUT,
    HINTS,
    device_size,
    disk_sequence,
    ioctl_int,
    open_file,
    reason,
    reread_partitions,
    status_of,
)
from .common import StorageError, size_text
from .devices import Rules, check_device

CHUNK = 2 << 20
"""Bytes of one system call; small enough that the slowest card can be cancelled within a second or two."""

HEAD = 1 << 20
"""Bytes at the start of a medium that are cleared first and written last: what is incomplete does not boot."""

RECOVERIES = 3
"""How often in a transfer a device is brought back that was lost."""

Revive: TypeAlias = Callable[[int, int], Path | None]
"""Brings back a device that was lost while a byte was written, for the n-th time, and says where it is then.

None where it is not lost, or cannot be brought back.
"""

_ZEROS = bytes(CHUNK)
_LOST = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.ENOMEDIUM, errno.ENOSPC)
"""What writing to a device says that has left the bus, depending on when it did."""
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

    def __init__(
        self, path: Path, fd: int, rules: Rules, *, capacity: int | None, is_device: bool, direct: bool
    ) -> None:
        self.path = path
        self.capacity = capacity
        """Bytes that it has; None for a file that takes the size of its image."""
        self.is_device = is_device
        self.written = 0
        """Bytes that were written as data."""
        self.recoveries = 0
        """How often it was lost and brought back; what it had not written then is to be looked for."""
        self.revive: Revive | None = None
        self._rules = rules
        self._fd = fd
        self._direct = direct
        self._sector = ioctl_int(fd, BLKSSZGET) if is_device else 4096 if direct else 1
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
        self.revive = None
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
        while True:
            try:
                self._pwrite_once(view, offset)
                return
            except OSError as e:
                self._bring_back(e, offset)

    def _pwrite_once(self, view: memoryview, offset: int) -> None:
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
        while True:
            try:
                fcntl.ioctl(self._fd, BLKZEROOUT, struct.pack("QQ", offset, length))
                return True
            except OSError as e:
                if e.errno in _UNSUPPORTED:
                    return False
                self._bring_back(e, offset)

    def _bring_back(self, error: OSError, offset: int) -> None:
        """Go on with a device that was lost; raises the error where it was not, or is lost for good."""
        if self.revive is None or not self.is_device or error.errno not in _LOST or self.recoveries == RECOVERIES:
            raise error
        path = self.revive(offset, self.recoveries + 1)
        if path is None:
            raise error
        self.recoveries += 1
        self.close()
        again = _opened(path, self._rules, write=True)
        self.path, self._fd, self._direct, self._sequence = again.path, again._fd, again._direct, again._sequence
        if again.capacity != self.capacity:
            raise StorageError(
                f"write {path} at byte {offset}: the medium that came back has {again.capacity} bytes, and the one "
                f"before had {self.capacity}",
                "leave it in until the transfer is done, and write it again",
            )

    def close(self) -> None:
        """Let go of it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _sync(self, stage: str) -> None:
        try:
            os.fsync(self._fd)
        except OSError as e:
            raise StorageError(
                f"{stage} {self.path}: {reason(e)} when the data were brought to the medium; "
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
                f"{stage} {self.path} at byte {offset} ({size_text(offset)}): {reason(e)}",
                HINTS.get(e.errno or 0, ""),
            ) from e


@contextmanager
def open_medium(path: Path, *, write: bool, rules: Rules, revive: Revive | None = None) -> Generator[Medium]:
    """Open a block device, or a file that stands for one, for one transfer.

    A device is refused unless the rules allow it; see `check_device`. StorageError says why. One that is lost while it
    is written is brought back by `revive`, which a driver has that can do that.
    """
    medium = _opened(path, rules, write=write)
    medium.revive = revive
    try:
        yield medium
    finally:
        medium.close()
    if medium.is_device and write:
        reread_partitions(medium.path)


def _opened(path: Path, rules: Rules, *, write: bool) -> Medium:
    found = status_of(path, write)
    is_device = stat.S_ISBLK(found.st_mode)
    if is_device:
        path = path.resolve()
        check_device(path, found.st_rdev, rules, write=write)
    elif found.st_mode and not stat.S_ISREG(found.st_mode):
        raise StorageError(f"{path} is neither a block device nor a file", "name one of the two")
    fd, direct = open_file(path, write, is_device)
    try:
        return _medium(path, fd, rules, is_device=is_device, direct=direct, write=write)
    except BaseException:
        os.close(fd)
        raise


def _medium(path: Path, fd: int, rules: Rules, *, is_device: bool, direct: bool, write: bool) -> Medium:
    capacity = device_size(fd) if is_device else rules.size_bytes
    if is_device and not capacity:
        raise StorageError(f"{path}: there is no medium in the reader", "put it in, or switch the mux to the host")
    if is_device and rules.max_size_bytes is not None and capacity is not None and capacity > rules.max_size_bytes:
        raise StorageError(
            f"{path} has {size_text(capacity)}, more than max_size_bytes allows", "check that it is the right device"
        )
    if is_device and write and ioctl_int(fd, BLKROGET):
        raise StorageError(f"{path} is read-only", "remove the write protection")
    return Medium(path, fd, rules, capacity=capacity, is_device=is_device, direct=direct)
