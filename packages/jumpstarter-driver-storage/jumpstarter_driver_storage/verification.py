"""What a medium has to hold after it was written, and whether it does."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import NamedTuple

from jumpstarter.streams.threads import in_thread

from .common import BLOCK, Stage, StorageError, Verify, size_text
from .images import Data, Item, is_zero
from .medium import Medium
from .tracker import Tracker

DIGEST = 32
"""Bytes of a SHA-256."""

_MOST = 1 << 20
"""Bytes of a part that are read at once."""

_BUFFER = _MOST + 2 * 4096
"""Bytes of a buffer: there is room for the sectors around it, too."""

SAMPLES = 64
"""Chunks that `sampled` reads, spread evenly, the first and the last among them."""


class Expected(NamedTuple):
    """A part of the image, and the digests of its blocks; without digests, it is zeros."""

    offset: int
    length: int
    digests: bytes


class Expectations:
    """What was written where, as digests; grows by half a megabyte for each gigabyte."""

    def __init__(self) -> None:
        self.parts: list[Expected] = []

    def add(self, item: Item) -> None:
        """Data, or zeros, that are about to be written; data without digests are not looked at again."""
        last = self.parts[-1] if self.parts else None
        if isinstance(item, Data):
            if item.digests:
                self.parts.append(Expected(item.offset, len(item.data), item.digests))
        elif last is not None and not last.digests and last.offset + last.length == item.offset:
            self.parts[-1] = Expected(last.offset, last.length + item.length, b"")
        else:
            self.parts.append(Expected(item.offset, item.length, b""))

    def are_whole(self, size: int) -> bool:
        """Whether the parts are an image of that size without gaps, in order."""
        at = 0
        for part in self.parts:
            if part.offset != at:
                return False
            at += part.length
        return at == size


def blocks_of(offset: int, length: int) -> list[int]:
    """Lengths of the blocks of a part of an image: blocks begin at multiples of their size."""
    first = min(length, -offset % BLOCK or BLOCK)
    rest = length - first
    return [first, *([BLOCK] * (rest // BLOCK)), *([rest % BLOCK] if rest % BLOCK else [])]


def lacks_digests(batch: list[Item]) -> bool:
    """Whether there are data whose sender has not told the digests of their blocks."""
    return any(isinstance(item, Data) and not item.digests for item in batch)


def with_digests(batch: list[Item]) -> list[Item]:
    """The items, data with the digests of their blocks."""
    return [
        item._replace(digests=digests_of(item.offset, memoryview(item.data)))
        if isinstance(item, Data) and not item.digests
        else item
        for item in batch
    ]


def digests_of(offset: int, view: memoryview) -> bytes:
    """The SHA-256 of each block of a part of an image."""
    out, at = bytearray(), 0
    for length in blocks_of(offset, len(view)):
        out += hashlib.sha256(view[at : at + length]).digest()
        at += length
    return bytes(out)


async def verify(medium: Medium, expected: Expectations, how: Verify, size: int, tracker: Tracker) -> str | None:
    """Read back what was written, past the page cache, and compare.

    Returns the digest of the whole image where all of it was read. Raises StorageError with the first place that
    differs.
    """
    if how == "off":
        return None
    parts = expected.parts if how == "full" else _samples(expected.parts)
    with tracker.during(Stage.VERIFY, sum(part.length for part in parts)):
        await in_thread(medium.forget)
        whole = hashlib.sha256() if how == "full" and expected.are_whole(size) else None
        comparison = _Comparison(medium, whole, tracker)
        await in_thread(comparison.run, parts, abort=comparison.stop)
    return whole.hexdigest() if whole is not None else None


def _samples(parts: list[Expected]) -> list[Expected]:
    """Some parts, evenly spread."""
    if len(parts) <= SAMPLES:
        return parts
    step = (len(parts) - 1) / (SAMPLES - 1)
    return [parts[round(number * step)] for number in range(SAMPLES)]


class _Comparison:
    """Reads one chunk while threads look at the one before. It blocks, so that no chunk waits for an event loop."""

    def __init__(self, medium: Medium, whole: hashlib._Hash | None, tracker: Tracker) -> None:  # pyright: ignore[reportPrivateUsage] its only name
        self._medium = medium
        self._whole = whole
        self._tracker = tracker
        self._is_stopped = False

    def stop(self) -> None:
        """Make `run` end after the chunk that it is at."""
        self._is_stopped = True

    def run(self, parts: list[Expected]) -> None:
        """Compare all of these parts. Raises StorageError for the first that differs."""
        buffers = cycle([memoryview(mmap.mmap(-1, _BUFFER)) for _ in range(2)])
        with ThreadPoolExecutor(2, "verify") as threads:
            looking: list[Future[None]] = []
            for part in _chunked(parts):
                if self._is_stopped:
                    break
                content = self._read(part, next(buffers))
                for done in looking:
                    done.result()
                looking = [threads.submit(self._compare, part, content), threads.submit(self._digest, content)]
            for done in looking:
                done.result()

    def _read(self, part: Expected, buffer: memoryview) -> memoryview:
        """The part as it is on the medium; direct reading takes whole sectors from their start on."""
        before = part.offset % 4096
        length = before + part.length
        count = self._medium.read(buffer[: length + -length % 4096], part.offset - before)
        if count < length:
            raise StorageError(
                f"verify {self._medium.path}: the medium ends at byte {part.offset - before + count}, "
                f"before the image does at {part.offset + part.length}",
                "the medium lies about its size, or was changed: replace it",
            )
        return buffer[before:length]

    def _compare(self, part: Expected, content: memoryview) -> None:
        self._tracker.count(part.length)
        if not part.digests:
            if not is_zero(content):
                raise self._differs(part.offset)
            return
        found = digests_of(part.offset, content)
        if found == part.digests:
            return
        at = part.offset
        for number, length in enumerate(blocks_of(part.offset, part.length)):
            place = slice(number * DIGEST, (number + 1) * DIGEST)
            if found[place] != part.digests[place]:
                raise self._differs(at)
            at += length

    def _digest(self, content: memoryview) -> None:
        if self._whole is not None:
            self._whole.update(content)

    def _differs(self, offset: int) -> StorageError:
        return StorageError(
            f"verify {self._medium.path} at byte {offset} ({size_text(offset)}): "
            "what is read back is not what was written",
            "the medium is not to be trusted: write it again, and replace it if that fails too",
        )


def _chunked(parts: list[Expected]) -> Iterator[Expected]:
    """The parts in pieces that a buffer can hold, with their digests."""
    for offset, length, digests in parts:
        at, end = offset, offset + length
        while at < end:
            stop = min(end, (at + _MOST) // BLOCK * BLOCK)
            count = len(blocks_of(at, stop - at)) * DIGEST if digests else 0
            yield Expected(at, stop - at, digests[:count])
            at, digests = stop, digests[count:]
