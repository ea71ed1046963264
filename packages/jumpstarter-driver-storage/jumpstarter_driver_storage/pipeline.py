"""The one way from an image to a medium: source, decompress, unfold, write, flush, read back and compare.

What moves bytes does so in worker threads, one step of at most a few megabytes at a time, so that a transfer can be
cancelled between two steps and never holds up the event loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from anyio import create_memory_object_stream, create_task_group
from anyio.abc import ObjectSendStream
from jumpstarter.common.groups import ungrouped
from jumpstarter.streams.encoding import HEAD as ENCODING_HEAD
from jumpstarter.streams.encoding import Compression, Decompressor, detect
from jumpstarter.streams.threads import in_thread

from .common import Stage, TransferResult, Verify, WriteOptions
from .devices import Rules
from .images import SPARSE_MAGIC, Bmap, BmapFilter, Data, ImageError, Item, Raw, Sparse, Unfolding
from .medium import Medium, Revive, open_medium
from .tracker import Tracker
from .verification import Expectations, lacks_digests, verify, with_digests

AHEAD = 1
"""Batches that wait between reading and writing."""


class Source(Protocol):
    """Where the bytes of an image file come from."""

    received: int
    """Bytes that came from elsewhere."""

    def items(self) -> AsyncGenerator[list[Data]]:
        """The file from its start to its end, in order; raises where it does not come whole."""
        ...


@dataclass
class Plan:
    """What the file turned out to be, and what is to be done with it."""

    options: WriteOptions
    verify: Verify
    compression: Compression | None = None
    unfolding: Unfolding = field(default_factory=Raw)
    bmap: BmapFilter | None = None
    digest: Any = None
    """Of the file as it comes, where its user named one."""

    @property
    def format(self) -> str:
        """The names of what the file was, from outside to inside."""
        inner = "bmap" if self.bmap is not None and self.unfolding.name == "raw" else self.unfolding.name
        return f"{self.compression}+{inner}" if self.compression else inner


@asynccontextmanager
async def medium_of(path: Path, *, write: bool, rules: Rules, revive: Revive | None = None) -> AsyncGenerator[Medium]:
    """`open_medium` for the event loop."""
    opened = open_medium(path, write=write, rules=rules, revive=revive)
    medium = await in_thread(opened.__enter__)
    try:
        yield medium
    except BaseException as e:
        await in_thread(opened.__exit__, type(e), e, e.__traceback__)
        raise
    await in_thread(opened.__exit__, None, None, None)


async def write_image(medium: Medium, source: Source, plan: Plan, tracker: Tracker) -> TransferResult:
    """Write an image to a medium, and prove it.

    Raises StorageError for the medium, ImageError or EncodingError for the file, and what breaks the source. The start
    of the medium is clear then, unless that fails too.
    """
    expected = Expectations()
    if plan.options.bmap is not None:
        plan.bmap = (await in_thread(Bmap, plan.options.bmap)).filter()
    await in_thread(medium.begin)
    try:
        with tracker.during(Stage.WRITE, plan.options.size):
            size = await _transfer(medium, source, plan, tracker, expected)
        with tracker.during(Stage.FLUSH):
            await in_thread(medium.flush)
            await in_thread(medium.finish, size)
            tracker.count(medium.written)
        await in_thread(medium.check_same)
        if medium.recoveries:
            plan.verify = "full"  # what it had taken when it was lost may not be on it
        digest = await verify(medium, expected, plan.verify, size, tracker)
        await in_thread(medium.check_same)
    except BaseException:
        await in_thread(medium.spoil)
        raise
    return TransferResult(
        bytes=size,
        seconds=tracker.seconds,
        sha256=digest,
        written=medium.written,
        received=source.received,
        format=plan.format,
        verify=plan.verify,
        recoveries=medium.recoveries,
        stages=dict(tracker.results),
    )


async def _transfer(medium: Medium, source: Source, plan: Plan, tracker: Tracker, expected: Expectations) -> int:
    """Move the image to the medium; returns its size."""
    unfolded, read_from = create_memory_object_stream[list[Item]](AHEAD)
    digested, write_from = create_memory_object_stream[list[Item]](AHEAD)
    size = 0

    async def read() -> None:
        nonlocal size
        async with unfolded:
            size = await _unfold(source, plan, tracker, unfolded)

    async def digest() -> None:
        async with read_from, digested:
            async for batch in read_from:
                if plan.verify != "off" and lacks_digests(batch):
                    batch = await in_thread(with_digests, batch)
                await digested.send(batch)

    with ungrouped():
        async with write_from, create_task_group() as tasks:  # both are cancelled before they could find this closed
            tasks.start_soon(read)
            tasks.start_soon(digest)
            async for batch in write_from:
                await in_thread(_write, medium, batch, expected)
    return size


def _write(medium: Medium, batch: list[Item], expected: Expectations) -> None:
    for item in batch:
        expected.add(item)
        if isinstance(item, Data):
            medium.write(item.offset, item.data)
        else:
            medium.zero(item.offset, item.length)


async def _unfold(source: Source, plan: Plan, tracker: Tracker, send: ObjectSendStream[list[Item]]) -> int:
    """Make items of what the source gives; returns the size of the image."""
    async with aclosing(source.items()) as received:
        contents = _decompressed(received, plan, tracker)
        async with aclosing(contents):
            is_first = True
            async for batch in contents:
                if is_first and plan.options.decompress and bytes(batch[0].data[:4]) == SPARSE_MAGIC:
                    plan.unfolding = Sparse()
                is_first = False
                if items := _known(plan, batch) or await in_thread(_items, plan, batch):
                    await send.send(items)
    if plan.options.size is not None and tracker.done != plan.options.size:
        raise ImageError(f"{tracker.done} bytes came, and not {plan.options.size}", "send it again")
    if plan.digest is not None and plan.digest.hexdigest() != (plan.options.sha256 or "").lower():
        raise ImageError(
            f"the file has the sha256 {plan.digest.hexdigest()}, not {plan.options.sha256}", "fetch the file again"
        )
    size = plan.unfolding.finish()
    return plan.bmap.finish(size) if plan.bmap is not None else size


def _known(plan: Plan, batch: list[Data]) -> list[Item] | None:
    """The items of a batch where there is nothing to look at; None for others."""
    if plan.bmap is not None or not isinstance(plan.unfolding, Raw) or not all(data.digests for data in batch):
        return None
    return [item for data in batch for item in plan.unfolding.known(data)]


def _items(plan: Plan, batch: list[Data]) -> list[Item]:
    return list(_unfolded(plan, batch))


def _unfolded(plan: Plan, batch: list[Data]) -> Iterator[Item]:
    for data in batch:
        for item in _as_it_is(plan.unfolding, data) or plan.unfolding.feed(data.data):
            if plan.bmap is None:
                yield item
            else:
                yield from plan.bmap.feed(item)


def _as_it_is(unfolding: Unfolding, data: Data) -> list[Item] | None:
    """Data whose blocks the sender has looked at already; None for others."""
    if not isinstance(unfolding, Raw) or not data.digests:
        return None
    return unfolding.known(data)


async def _decompressed(
    received: AsyncIterator[list[Data]], plan: Plan, tracker: Tracker
) -> AsyncGenerator[list[Data]]:
    """The content of the file: what is compressed is decompressed, by what the file says of itself."""
    decompressor: Decompressor | None = None
    head, held = b"", list[Data]()
    looking = plan.options.decompress
    async for batch in received:
        size = sum(len(data.data) for data in batch)
        tracker.count(size)
        if plan.digest is not None:
            await in_thread(_digest, plan, batch)
        if looking:
            held += batch
            head += b"".join(bytes(data.data[:ENCODING_HEAD]) for data in batch)
            if len(head) < ENCODING_HEAD:
                continue
            looking, batch = False, held
            plan.compression = plan.compression or detect(head)
        if plan.compression is None:
            yield batch
            continue
        decompressor = decompressor or Decompressor(plan.compression)
        async for content in _content(decompressor, batch):
            yield content
    if looking and held:  # shorter than any compressed content
        yield held
    if decompressor is not None:
        decompressor.finish()


def _digest(plan: Plan, batch: list[Data]) -> None:
    for data in batch:
        plan.digest.update(data.data)


async def _content(decompressor: Decompressor, batch: list[Data]) -> AsyncGenerator[list[Data]]:
    for data in batch:
        pieces = decompressor.feed(bytes(data.data))
        while (piece := await in_thread(next, pieces, None)) is not None:
            yield [Data(0, piece)]


def new_plan(options: WriteOptions, default: Verify, compression: Compression | None = None) -> Plan:
    """The plan for an image with these options; ValueError for options that can never work."""
    verify_as: Verify = options.verify or default
    if verify_as not in ("full", "sampled", "off"):
        raise ValueError(f"verify: {verify_as!r} is not one of full, sampled and off")
    plan = Plan(options, verify_as, compression)
    if options.sha256 is not None:
        if len(options.sha256) != 64 or any(digit not in "0123456789abcdefABCDEF" for digit in options.sha256):
            raise ValueError(f"sha256: {options.sha256!r} is not 64 hexadecimal digits")
        plan.digest = hashlib.sha256()
    return plan
