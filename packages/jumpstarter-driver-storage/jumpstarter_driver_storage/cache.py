"""Blocks of images that came to this host before, by their digests, so that they need not come again.

A transfer appends its new blocks to a pack of its own: one file with the bytes, one with digests and lengths, which are
written after the bytes. A pack is always good up to where it was written, whoever was killed; and a block is compared
with its digest before it is used. Packs that were not used for the longest time go first.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jumpstarter.common.state import make_private

logger = logging.getLogger(__name__)

DEFAULT_BYTES = 4 << 30
"""Bytes that the cache of a user may have, unless a driver is configured otherwise."""

_ENTRY = struct.Struct("<32sI")
_FREE_SHARE = 0.05
"""Part of the disk that is left free whatever the limit is."""


class _Place(NamedTuple):
    pack: str
    offset: int
    length: int


@dataclass
class BlockCache:
    """The cache as one transfer uses it. Everything blocks; what goes wrong costs time, never the transfer."""

    folder: Path
    limit: int = DEFAULT_BYTES
    _places: dict[bytes, _Place] = field(default_factory=dict[bytes, _Place], init=False)
    _reading: dict[str, int] = field(default_factory=dict[str, int], init=False)
    _used: set[str] = field(default_factory=set[str], init=False)
    _writing: tuple[int, int] | None = field(default=None, init=False)
    _written: int = field(default=0, init=False)
    _is_full: bool = field(default=False, init=False)
    _name: str = field(default="", init=False)

    def open(self) -> None:
        """Look at what there is."""
        if self.limit <= 0:
            return
        try:
            make_private(self.folder)
            self._name = f"{time.time_ns():x}-{os.getpid()}"
            for index in sorted(self.folder.glob("*.index")):
                self._load(index)
        except OSError as e:
            logger.warning("blocks are not kept: %s", e)
            self.limit = 0

    def _load(self, index: Path) -> None:
        with suppress(FileNotFoundError):  # another exporter made room
            offset, data = 0, index.read_bytes()
            for digest, length in _ENTRY.iter_unpack(data[: len(data) - len(data) % _ENTRY.size]):
                self._places.setdefault(digest, _Place(index.stem, offset, length))
                offset += length

    @property
    def keeps(self) -> bool:
        """Whether there is room for more."""
        return self.limit > 0 and not self._is_full

    def knows(self, digests: Iterable[bytes]) -> bool:
        """Whether there may be a block of one of these digests."""
        return bool(self._places) and not self._places.keys().isdisjoint(digests)

    def find(self, digest: bytes, length: int) -> bytes | None:
        """The block of that digest and length; None where it is not here, or not intact."""
        place = self._places.get(digest)
        if place is None or place.length != length:
            return None
        try:
            fd = self._reading.get(place.pack)
            if fd is None:
                fd = self._reading[place.pack] = os.open(self._data(place.pack), os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(fd, length, place.offset)
        except OSError:
            data = b""
        if hashlib.sha256(data).digest() != digest:
            del self._places[digest]
            return None
        self._used.add(place.pack)
        return data

    def add(self, blocks: Sequence[tuple[bytes, memoryview]]) -> None:
        """Keep blocks, each with its digest."""
        new = [(digest, data) for digest, data in blocks if digest not in self._places]
        size = sum(len(data) for _, data in new)
        if not new or self._is_full or self._written + size > self.limit:
            return
        try:
            data_fd, index_fd = self._writing or self._start()
            self._writing = data_fd, index_fd
            self._make_room(size)
            if self._is_full:
                return
            for start in range(0, len(new), os.sysconf("SC_IOV_MAX")):
                _write_all(data_fd, [data for _, data in new[start : start + os.sysconf("SC_IOV_MAX")]])
            _write_all(index_fd, [memoryview(b"".join(_ENTRY.pack(digest, len(data)) for digest, data in new))])
        except OSError as e:
            logger.warning("no more blocks are kept: %s", e)
            self._is_full = True
            return
        for digest, data in new:
            self._places[digest] = _Place(self._name, self._written, len(data))
            self._written += len(data)

    def _start(self) -> tuple[int, int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        data = os.open(self._data(self._name), flags, 0o600)
        try:
            return data, os.open(self._index(self._name), flags, 0o600)
        except BaseException:
            os.close(data)
            raise

    def _make_room(self, size: int) -> None:
        """Remove old packs until there is room for so many bytes; where there is none, no more are kept."""
        if self._written // (64 << 20) == (self._written + size) // (64 << 20) and self._written:
            return  # looked a moment ago
        disk = os.statvfs(self.folder)
        if disk.f_bavail < disk.f_blocks * _FREE_SHARE:
            self._is_full = True
        packs = sorted(self.folder.glob("*.data"), key=_age)
        total = sum(_size(pack) for pack in packs)
        for pack in packs:
            if total + size + (64 << 20) <= max(self.limit, 64 << 20):
                return
            if pack.stem != self._name and pack.stem not in self._used:
                total -= _size(pack)
                self._index(pack.stem).unlink(missing_ok=True)
                pack.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of all files; packs that were used count as young."""
        for name in self._used:
            with suppress(OSError):
                os.utime(self._data(name))
        for fd in (*self._reading.values(), *(self._writing or ())):
            os.close(fd)
        self._reading, self._writing = {}, None

    def _data(self, name: str) -> Path:
        return self.folder / f"{name}.data"

    def _index(self, name: str) -> Path:
        return self.folder / f"{name}.index"


def _write_all(fd: int, views: list[memoryview]) -> None:
    written = os.writev(fd, views)
    rest = memoryview(b"".join(views))[written:] if written < sum(map(len, views)) else memoryview(b"")
    while rest:
        rest = rest[os.write(fd, rest) :]


def _age(pack: Path) -> float:
    with suppress(OSError):
        return pack.stat().st_mtime
    return 0.0


def _size(pack: Path) -> int:
    with suppress(OSError):
        return pack.stat().st_size
    return 0


def cache_folder() -> Path:
    """Where the blocks of this user are; OSError for a user without a home."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError as e:
            raise OSError("this user has no home directory; set XDG_CACHE_HOME") from e
    return base / "jumpstarter" / "blocks"
