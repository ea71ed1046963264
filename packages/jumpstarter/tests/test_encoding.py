"""Compressed contents: whole, or an error."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumpstarter.streams.encoding import STEP, Compression, Decompressor, EncodingError, compressor, detect

zstd: Any = pytest.importorskip("backports.zstd")

COMPRESS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzip.compress,
    Compression.XZ: lzma.compress,
    Compression.BZ2: bz2.compress,
    Compression.ZSTD: lambda data: zstd.compress(
        data, options={zstd.CompressionParameter.checksum_flag: 1, zstd.CompressionParameter.compression_level: 3}
    ),
}

every = pytest.mark.parametrize("encoding", list(Compression))
CONTENT = b"".join(b"%d lines of text\n" % number for number in range(20_000))


PADDING = st.integers(0, 3)


def content_of(encoding: Compression, data: bytes, step: int = 10_000) -> bytes:
    decompressor, out = Decompressor(encoding), b""
    for start in range(0, len(data), step):
        out += b"".join(decompressor.feed(data[start : start + step]))
    decompressor.finish()
    return out


@every
@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    step=st.integers(1, 2000),
    padding=st.integers(0, 3),
)
def test_members_in_a_row_and_padding_are_one_content(
    encoding: Compression, parts: list[bytes], step: int, padding: int
) -> None:
    data = b"".join(COMPRESS[encoding](part) for part in parts) + bytes(4 * padding)
    assert content_of(encoding, data, step) == b"".join(parts)


@every
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_content_that_is_cut_is_an_error(encoding: Compression, data: st.DataObject) -> None:
    whole = COMPRESS[encoding](CONTENT[:50_000])
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(EncodingError, match=r"end in the middle|damaged"):
        content_of(encoding, whole[:cut])


@every
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_content_is_an_error_or_the_same(encoding: Compression, data: st.DataObject) -> None:
    whole = bytearray(COMPRESS[encoding](CONTENT[:50_000]))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(EncodingError):  # some bits mean nothing, such as the time in the header of gzip
        assert content_of(encoding, bytes(whole)) == CONTENT[:50_000]


@every
def test_something_else_after_the_end_is_an_error(encoding: Compression) -> None:
    with pytest.raises(EncodingError, match=r"goes on with something else|end in the middle"):
        content_of(encoding, COMPRESS[encoding](CONTENT) + b"some more")


@every
def test_much_from_little_comes_in_small_pieces(encoding: Compression) -> None:
    bomb, decompressor = COMPRESS[encoding](bytes(32 << 20)), Decompressor(encoding)
    sizes = [len(piece) for piece in decompressor.feed(bomb)]
    decompressor.finish()
    assert sum(sizes) == 32 << 20
    assert max(sizes) <= STEP


@every
def test_encodings_are_known_by_their_first_bytes(encoding: Compression) -> None:
    assert detect(COMPRESS[encoding](b"")[:14]) == encoding
    assert detect(COMPRESS[encoding](CONTENT)[:14]) == encoding
    assert detect(CONTENT[:14]) is None
    made = compressor(encoding)
    assert content_of(encoding, made.compress(CONTENT) + made.flush()) == CONTENT


def test_frames_that_are_to_be_skipped_are() -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip"
    assert detect(skippable) == Compression.ZSTD
    assert content_of(Compression.ZSTD, skippable + zstd.compress(b"content") + skippable) == b"content"


def test_a_content_that_needs_too_much_memory_is_refused() -> None:
    large = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    assert content_of(Compression.XZ, large) == b"x"
    with pytest.raises(EncodingError, match=r"[Mm]emory"):
        content_of(Compression.XZ, with_dictionary_of_a_gigabyte(large))


def with_dictionary_of_a_gigabyte(compressed: bytes) -> bytes:
    """The same xz file, whose block says that it needs a dictionary of a gigabyte."""
    start = 12  # of the block header: size, flags, filter id, size of its properties, dictionary size, padding, CRC-32
    size = 4 * (compressed[start] + 1)
    header = bytearray(compressed[start : start + size - 4])
    assert header[2:4] == b"\x21\x01"
    header[4] = 36
    return compressed[:start] + header + zlib.crc32(header).to_bytes(4, "little") + compressed[start + size :]
