"""What is inside of an image file: plain blocks, or an Android sparse image; and bmap files, which say what matters.

Facts: libsparse's sparse_format.h (Android); the bmap format 2.0 of the Tizen bmap-tools documentation.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeAlias
from xml.etree import ElementTree

from jumpstarter.common.exceptions import JumpstarterException

from .common import BLOCK

SPARSE_MAGIC = b"\x3a\xff\x26\xed"

_ZERO_BLOCK = bytes(BLOCK)

ZERO_DIGEST = hashlib.sha256(_ZERO_BLOCK).digest()
"""Of a block of zeros."""

MOST_FILL = 1 << 20
"""Bytes of a repeated pattern that are made at once."""


class ImageError(JumpstarterException, ValueError):
    """The image file is wrong: cut short, damaged, or not what it claims to be."""


class Data(NamedTuple):
    """Bytes at a place of the image."""

    offset: int
    data: bytes | memoryview
    digests: bytes = b""
    """SHA-256 of each block of the data, one after the other, where they are known."""

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class Zeros(NamedTuple):
    """A part of the image that has to read as zeros."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


Item: TypeAlias = Data | Zeros


class Unfolding(Protocol):
    """Makes items of the bytes of an image file."""

    name: str

    def feed(self, data: bytes | memoryview) -> Iterator[Item]:
        """The items that become complete by the next bytes."""
        ...

    def finish(self) -> int:
        """Size of the image; ImageError where the file ends too early."""
        ...


def is_zero(data: bytes | bytearray | memoryview, length: int | None = None) -> bool:
    """Whether there is nothing but zero bytes, in the first `length` bytes or in all of them."""
    length = len(data) if length is None else length
    if bytes(data[: min(64, length)]).strip(b"\0"):  # what is not zero mostly shows it at once
        return False
    whole = bytes(data) if isinstance(data, memoryview) else data  # to compare memoryviews is slower by far
    return all(whole.startswith(_ZERO_BLOCK[: length - start], start) for start in range(0, length, BLOCK))


class Raw:
    """An image as it is; blocks of zeros are told from data."""

    name = "raw"

    def __init__(self) -> None:
        self._at = 0

    def feed(self, data: bytes | memoryview) -> Iterator[Item]:
        start, self._at = self._at, self._at + len(data)
        return split_zeros(start, memoryview(data))

    def known(self, data: Data) -> list[Item]:
        """What is next of an image, where its sender has told zeros from data already."""
        self._at = data.end
        return [Zeros(data.offset, len(data.data)) if data.digests.startswith(ZERO_DIGEST) else data]

    def finish(self) -> int:
        return self._at


def split_zeros(offset: int, view: memoryview) -> Iterator[Item]:
    """Data and zeros of a part of an image, in order; only whole blocks count as zeros."""
    position, begun = 0, 0
    zeros: int | None = None
    while position < len(view):
        end = min(len(view), (offset + position) // BLOCK * BLOCK + BLOCK - offset)
        if end - position == BLOCK and is_zero(view[position:end]):
            if zeros is None:
                if begun < position:
                    yield Data(offset + begun, view[begun:position])
                zeros = position
        elif zeros is not None:
            yield Zeros(offset + zeros, position - zeros)
            zeros, begun = None, position
        position = end
    if zeros is not None:
        yield Zeros(offset + zeros, len(view) - zeros)
    elif begun < len(view):
        yield Data(offset + begun, view[begun:])


_FILE_HEADER = struct.Struct("<IHHHHIIII")
_CHUNK_HEADER = struct.Struct("<HHII")
_RAW, _FILL, _DONT_CARE, _CRC32 = 0xCAC1, 0xCAC2, 0xCAC3, 0xCAC4


class Sparse:
    """An Android sparse image: chunks of data, of a pattern, or of nothing that matters."""

    name = "sparse"

    def __init__(self) -> None:
        self._record = bytearray()
        self._need = _FILE_HEADER.size
        self._read = self._file_header
        self._left = 0
        self._at = 0
        self._block_size = self._blocks = self._chunks = 0
        self._skip, self._chunk_header_size = 0, _CHUNK_HEADER.size

    def feed(self, data: bytes | memoryview) -> Iterator[Item]:
        view = memoryview(data)
        while view:
            if self._skip:
                skipped = min(self._skip, len(view))
                self._skip, view = self._skip - skipped, view[skipped:]
            elif self._left:
                part = view[: self._left]
                yield from split_zeros(self._at, part)
                self._at, self._left, view = self._at + len(part), self._left - len(part), view[len(part) :]
            elif not self._need:
                raise ImageError("the sparse image goes on after its last chunk", "make the file again")
            else:
                part = view[: self._need - len(self._record)]
                self._record += part
                view = view[len(part) :]
                if len(self._record) == self._need:
                    record, self._record = bytes(self._record), bytearray()
                    yield from self._read(record)

    def finish(self) -> int:
        if self._need or self._left or self._skip:
            raise ImageError(f"the sparse image ends too early, at byte {self._at} of its content", "fetch it again")
        if self._at != self._blocks * self._block_size:
            raise ImageError(f"the sparse image has {self._at} bytes, not {self._blocks * self._block_size} as it says")
        return self._at

    def _file_header(self, record: bytes) -> Iterator[Item]:
        _, major, _, size, chunk_size, self._block_size, self._blocks, self._chunks, _ = _FILE_HEADER.unpack(record)
        if major != 1 or size < _FILE_HEADER.size or chunk_size < _CHUNK_HEADER.size:
            raise ImageError(f"sparse images of version {major} are not known", "write it as it is with --raw")
        if not 512 <= self._block_size <= 64 << 20 or self._block_size % 4:
            raise ImageError(f"the sparse image has blocks of {self._block_size} bytes, which cannot be")
        self._skip, self._chunk_header_size = size - _FILE_HEADER.size, chunk_size
        self._next_chunk()
        return iter(())

    def _next_chunk(self) -> None:
        self._read, self._need = self._chunk_header, _CHUNK_HEADER.size if self._chunks else 0

    def _chunk_header(self, record: bytes) -> Iterator[Item]:
        kind, _, blocks, total = _CHUNK_HEADER.unpack(record)
        self._chunks -= 1
        self._skip = self._chunk_header_size - _CHUNK_HEADER.size
        length, payload = blocks * self._block_size, total - self._chunk_header_size
        if payload != {_RAW: length, _FILL: 4, _DONT_CARE: 0, _CRC32: 4}.get(kind, -1):
            raise ImageError(f"the sparse image has a chunk of type {kind:#06x} with {payload} bytes, which cannot be")
        if kind == _RAW:
            self._left = length
            self._next_chunk()
        elif kind == _DONT_CARE:
            self._at += length
            self._next_chunk()
        else:
            self._fill_length = length if kind == _FILL else 0
            self._read, self._need = self._fill, 4
        return iter(())

    def _fill(self, record: bytes) -> Iterator[Item]:
        """The pattern of a fill chunk; or a checksum, over an image whose gaps nobody knows, so not checked."""
        start, self._at = self._at, self._at + self._fill_length
        self._next_chunk()
        return _filled(start, self._fill_length, record)


def _filled(offset: int, length: int, pattern: bytes) -> Iterator[Item]:
    if pattern == bytes(4):
        if length:
            yield Zeros(offset, length)
        return
    repeated = pattern * (MOST_FILL // 4)
    for start in range(offset, offset + length, MOST_FILL):
        yield Data(start, memoryview(repeated)[: min(MOST_FILL, offset + length - start)])


class Range(NamedTuple):
    """A part of an image that matters, and the digest of its content; empty where the bmap has none."""

    offset: int
    length: int
    checksum: str

    @property
    def end(self) -> int:
        return self.offset + self.length


class Bmap:
    """What a bmap file says of an image."""

    def __init__(self, text: str) -> None:
        """Raises ImageError for what is no bmap, or fails its own checksum."""
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ImageError("bmap: document types are not taken")
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as e:
            raise ImageError(f"bmap: this is no XML: {e}") from e
        version = root.get("version", "")
        if root.tag != "bmap" or version.partition(".")[0] not in ("1", "2"):
            raise ImageError(f"bmap: version {version or '(none)'} is not known; 1 and 2 are")
        self._algorithm = _text_of(root, "ChecksumType", "sha1" if version != "2.0" else "sha256")
        if self._algorithm not in ("sha1", "sha256", "sha512"):
            raise ImageError(f"bmap: checksums of type {self._algorithm!r} are not known")
        self._check_itself(text, _text_of(root, "BmapFileChecksum", "") or _text_of(root, "BmapFileSHA1", ""))
        self.size = _number(root, "ImageSize")
        block = _number(root, "BlockSize")
        self.ranges = [self._range(element, block) for element in root.findall("BlockMap/Range")]
        if any(a.end > b.offset for a, b in pairwise(self.ranges)):
            raise ImageError("bmap: its ranges are not in order")

    def _check_itself(self, text: str, checksum: str) -> None:
        if not checksum:
            return
        blank = text.replace(checksum, "0" * len(checksum), 1)
        if hashlib.new(self._algorithm, blank.encode()).hexdigest() != checksum.lower():
            raise ImageError("bmap: the file fails its own checksum", "fetch it again")

    def _range(self, element: ElementTree.Element, block: int) -> Range:
        first, _, last = (element.text or "").strip().partition("-")
        try:
            start, end = int(first) * block, (int(last or first) + 1) * block
        except ValueError:
            raise ImageError(f"bmap: {element.text!r} is no range of blocks") from None
        end = min(end, self.size)
        if not 0 <= start < end:
            raise ImageError(f"bmap: the range {element.text!r} is not inside of the image")
        return Range(start, end - start, (element.get("chksum") or element.get("sha1") or "").lower())

    def filter(self) -> BmapFilter:
        """What lets the parts of an image pass that matter."""
        return BmapFilter(self, self._algorithm)


class BmapFilter:
    """Lets those parts of an image pass that a bmap names, and checks their digests."""

    def __init__(self, bmap: Bmap, algorithm: str) -> None:
        self._bmap = bmap
        self._ranges = iter(bmap.ranges)
        self._range = next(self._ranges, None)
        self._algorithm = algorithm
        self._digest = hashlib.new(algorithm)
        self._done = 0

    def feed(self, item: Item) -> Iterator[Item]:
        """The parts of an item that matter; the items come in the order of the image."""
        while self._range is not None and item.end > self._range.offset:
            wanted = self._range
            start, end = max(item.offset, wanted.offset), min(item.end, wanted.end)
            if start < end:
                if start != wanted.offset + self._done:
                    raise ImageError(
                        f"the image lacks bytes from {wanted.offset + self._done} on, which the bmap names"
                    )
                part = _part(item, start, end)
                self._count(part)
                yield part
            if item.end < wanted.end:
                return
            self._end_of_range(wanted)

    def finish(self, size: int) -> int:
        """Size of the image, once all of it has come."""
        if self._range is not None:
            raise ImageError(f"the image ends before byte {self._range.end}, which the bmap names", "fetch it again")
        if size > self._bmap.size:
            raise ImageError(f"the image has {size} bytes, the bmap is for one of {self._bmap.size}")
        return self._bmap.size

    def _count(self, part: Item) -> None:
        self._done += part.end - part.offset
        if isinstance(part, Data):
            self._digest.update(part.data)
            return
        for start in range(0, part.length, BLOCK):
            self._digest.update(_ZERO_BLOCK[: part.length - start])

    def _end_of_range(self, wanted: Range) -> None:
        if wanted.checksum and self._digest.hexdigest() != wanted.checksum:
            raise ImageError(
                f"the image differs from its bmap in the bytes from {wanted.offset} to {wanted.end}",
                "fetch image and bmap again",
            )
        self._range, self._done, self._digest = next(self._ranges, None), 0, hashlib.new(self._algorithm)


def _part(item: Item, start: int, end: int) -> Item:
    if isinstance(item, Zeros):
        return Zeros(start, end - start)
    if (start, end) == (item.offset, item.end):
        return item
    return Data(start, memoryview(item.data)[start - item.offset : end - item.offset])


def _text_of(root: ElementTree.Element, name: str, default: str) -> str:
    found = root.find(name)
    return (found.text or "").strip() if found is not None else default


def _number(root: ElementTree.Element, name: str) -> int:
    text = _text_of(root, name, "")
    if not text.isascii() or not text.isdigit():
        raise ImageError(f"bmap: {name} is {text or 'missing'}, not a number")
    return int(text)
