"""Content encodings of byte streams: gzip, xz, bz2 and zstd, strictly.

What ends in the middle, is damaged, or goes on with something else after its end, is an error and never a short result.
Several members or frames in a row are one content, and zero bytes after the last of them are padding.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator
from enum import StrEnum
from importlib import import_module
from typing import Any, Protocol

from anyio import EndOfStream
from anyio.abc import AnyByteStream, ObjectStream

from ..common.exceptions import JumpstarterException
from .threads import in_thread

STEP = 1 << 20
"""Most bytes that a decompressor makes at once, whatever it is fed."""

MEMORY = 192 << 20
"""Most bytes that a decompressor may need for itself; xz -9 needs 65 MiB."""


class Compression(StrEnum):
    """The encodings, by their names on the wire."""

    GZIP = "gzip"
    XZ = "xz"
    BZ2 = "bz2"
    ZSTD = "zstd"


class EncodingError(JumpstarterException, ValueError):
    """Compressed data that are not complete, or not intact."""


HEAD = 14
"""Bytes by which `detect` tells encodings apart."""

COMPRESSION_SIGNATURES = {
    Compression.GZIP: b"\x1f\x8b\x08",
    Compression.XZ: b"\xfd7zXZ\0",
    Compression.BZ2: b"BZh",
    Compression.ZSTD: b"\x28\xb5\x2f\xfd",
}
"""What the encodings begin with; `detect` looks at more than that."""


def detect(head: bytes) -> Compression | None:
    """The encoding of a content that begins with these bytes; None for any other content."""
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:  # a frame that is skipped
        return Compression.ZSTD
    encoding = next((known for known, begin in COMPRESSION_SIGNATURES.items() if head.startswith(begin)), None)
    if encoding is Compression.BZ2 and not _begins_bz2(head[3:10]):
        return None
    return encoding


def _begins_bz2(head: bytes) -> bool:
    """Whether a level, and a block or the end, follow the three letters, which a text may have, too."""
    return head[:1] in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9") and head[1:] in (
        b"1AY&SY",
        b"\x17\x72\x45\x38\x50\x90",
    )


class _Member(Protocol):
    """What decompresses one member or frame; the decompressors of bz2, lzma and zstd are alike."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


class _GzipMember:
    """One member of a gzip file, in the way of the others; its checksum and length are checked."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))  # where 0 is no limit
        self.needs_input = not self._inner.unconsumed_tail and len(out) < max_length
        return out

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise NotImplementedError("zstd needs a library that is not installed here; pip install 'jumpstarter[zstd]'")


def _zstd_member() -> _Member:
    zstd = _zstd()
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MEMORY.bit_length() - 1})


_MEMBERS: dict[Compression, Callable[[], _Member]] = {
    Compression.GZIP: _GzipMember,
    Compression.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY),
    Compression.BZ2: bz2.BZ2Decompressor,
    Compression.ZSTD: _zstd_member,
}


class Decompressor:
    """Takes compressed bytes as they come, and gives the content in pieces of at most STEP bytes.

    Its methods raise EncodingError for what is damaged.
    """

    def __init__(self, encoding: Compression) -> None:
        self._encoding = encoding
        self._member: _Member | None = _MEMBERS[encoding]()
        self._taken = 0
        self._members = 0

    def feed(self, data: bytes) -> Generator[bytes]:
        """The content of the next bytes; to be exhausted before the next call."""
        self._taken += len(data)
        while True:
            if self._member is None:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = _MEMBERS[self._encoding]()
            out = self._step(self._member, data)
            if out:
                yield out
            if self._member.eof:
                data, self._member = self._member.unused_data, None
                self._members += 1
            elif self._member.needs_input:
                return
            else:
                data = b""

    def _step(self, member: _Member, data: bytes) -> bytes:
        try:
            return member.decompress(data, STEP)
        except Exception as e:
            if not isinstance(e, zlib.error | lzma.LZMAError | OSError | EOFError) and type(e).__name__ != "ZstdError":
                raise
            what = "goes on with something else after its end, or is damaged" if self._members else "is damaged"
            raise EncodingError(
                f"{self._encoding} data {what}, within the first {self._taken} bytes: {e}",
                "fetch or make the file again",
            ) from e

    def finish(self) -> None:
        """Say that no more bytes follow; EncodingError where the content is not complete."""
        if self._member is not None:
            raise EncodingError(
                f"{self._encoding} data end in the middle, after {self._taken} bytes", "fetch or make the file again"
            )


_COMPRESSORS: dict[Compression, Callable[[], Any]] = {
    Compression.GZIP: lambda: zlib.compressobj(6, wbits=31),
    Compression.XZ: lambda: lzma.LZMACompressor(preset=1),
    Compression.BZ2: bz2.BZ2Compressor,
    Compression.ZSTD: lambda: _zstd().ZstdCompressor(),
}


def compressor(encoding: Compression) -> Any:
    """What compresses, by `compress(data)` and `flush()`."""
    return _COMPRESSORS[encoding]()


def encoding_named(name: str) -> Compression:
    """The encoding of that name; ValueError names those that there are."""
    try:
        return Compression(name)
    except ValueError:
        raise ValueError(f"content encoding {name!r} is not known; known are {', '.join(Compression)}") from None


class DecodedStream(ObjectStream[bytes]):
    """The content behind a stream of encoded bytes: decompressed when received, compressed when sent."""

    def __init__(self, stream: AnyByteStream, encoding: Compression, *, may_be_empty: bool = False) -> None:
        """`may_be_empty` is for streams that may only be sent to: nothing at all is no content then, and no error."""
        self._stream = stream
        self._may_be_empty = may_be_empty
        self._encoding = encoding
        self._decompressor: Decompressor | None = None
        self._pieces: Generator[bytes] = iter_nothing()
        self._compressor: Any = None

    async def receive(self) -> bytes:
        while True:
            piece = await in_thread(next, self._pieces, None)
            if piece is not None:
                return piece
            try:
                data = await self._stream.receive()
            except EndOfStream:
                if self._decompressor is not None or not self._may_be_empty:
                    (self._decompressor or Decompressor(self._encoding)).finish()
                raise
            self._decompressor = self._decompressor or Decompressor(self._encoding)
            self._pieces = self._decompressor.feed(data)

    async def send(self, item: bytes) -> None:
        if self._compressor is None:
            self._compressor = compressor(self._encoding)
        if data := await in_thread(self._compressor.compress, item):
            await self._stream.send(data)

    async def send_eof(self) -> None:
        await self._flush()
        await self._stream.send_eof()

    async def _flush(self) -> None:
        if self._compressor is not None:
            last, self._compressor = self._compressor, None
            await self._stream.send(await in_thread(last.flush))

    async def aclose(self) -> None:
        await self._flush()
        await self._stream.aclose()


def iter_nothing() -> Generator[bytes]:
    """No pieces."""
    yield from ()


# by the names of the public release

SIGNATURE_BUFFER_SIZE = HEAD
detect_compression_from_signature = detect


def create_decompressor(compression: Compression) -> Any:
    """What decompresses one member of an encoding, by `decompress(data)`; it has `eof` and `unused_data`."""
    return _MEMBERS[compression]()


def compress_stream(stream: AnyByteStream, compression: Compression | None) -> AnyByteStream:
    """The content behind an encoded stream: compressed when sent, decompressed when received; itself for None."""
    return DecodedStream(stream, compression) if compression is not None else stream


class AutoDecompressIterator:
    """The content behind blocks of bytes, decompressed if they begin like something compressed, else as they are."""

    def __init__(self, *, source: AsyncIterable[bytes]) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """Raises RuntimeError, with an EncodingError as its cause, for data that are damaged or end too early."""
        source = aiter(self._source)
        head = b""
        async for block in source:
            head += block
            if len(head) >= HEAD:
                break
        encoding = detect(head)
        if encoding is None:
            if head:
                yield head
            async for block in source:
                yield block
            return
        try:
            async for piece in _decompressed(Decompressor(encoding), head, source):
                yield piece
        except EncodingError as e:
            raise RuntimeError(str(e)) from e


async def _decompressed(decompressor: Decompressor, head: bytes, source: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    for piece in decompressor.feed(head):
        yield piece
    async for block in source:
        pieces = decompressor.feed(block)
        while (piece := await in_thread(next, pieces, None)) is not None:
            yield piece
    decompressor.finish()
