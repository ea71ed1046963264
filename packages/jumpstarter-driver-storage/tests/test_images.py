"""What is inside of an image file, for any content."""

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumpstarter_driver_storage.blocks import bits, unbits
from jumpstarter_driver_storage.common import BLOCK
from jumpstarter_driver_storage.images import Bmap, Data, ImageError, Item, Raw, Sparse, Unfolding, Zeros, is_zero
from jumpstarter_testing.images import CRC32, DONT_CARE, FILL, RAW, bmap_of, sparse_image

ZEROS = bytes(BLOCK)

BLOCKS = {"0": ZEROS, "a": b"a" * BLOCK, "x": bytes(BLOCK - 1) + b"x"}


def assembled(items: Iterator[Item] | list[Item], size: int) -> bytes:
    """An image of its parts; gaps are zeros."""
    out = bytearray(size)
    for item in items:
        if isinstance(item, Data):
            out[item.offset : item.end] = item.data
        else:
            out[item.offset : item.end] = bytes(item.length)
    return bytes(out)


def fed(unfolding: Unfolding, data: bytes, step: int) -> list[Item]:
    return [item for start in range(0, len(data), step) for item in unfolding.feed(data[start : start + step])]


@settings(max_examples=60, deadline=None)
@given(st.text("0ax", max_size=8), st.integers(0, 70_000), st.integers(500, 200_000))
def test_a_raw_image_is_what_it_was(parts: str, tail: int, step: int) -> None:
    image, raw = b"".join(BLOCKS[part] for part in parts) + bytes(tail - tail // 2) + b"t" * (tail // 2), Raw()
    items = fed(raw, image, step)
    assert raw.finish() == len(image)
    assert assembled(items, len(image)) == image
    assert [item.offset for item in items] == sorted(item.offset for item in items)


def test_blocks_of_zeros_are_no_data() -> None:
    items = list(Raw().feed(ZEROS * 3 + b"x" * BLOCK + ZEROS))
    assert [type(item) for item in items] == [Zeros, Data, Zeros]


@given(st.binary(max_size=200), st.integers(0, 300))
def test_zero_is_zero(data: bytes, zeros: int) -> None:
    assert is_zero(memoryview(bytes(zeros)))
    assert is_zero(bytes(zeros) + data) == (not data.strip(b"\0"))


@given(st.lists(st.booleans(), max_size=70))
def test_an_answer_is_read_as_it_was_written(wanted: list[bool]) -> None:
    assert unbits(bits(wanted), len(wanted)) == wanted


chunks = st.lists(
    st.one_of(
        st.tuples(st.just(RAW), st.integers(1, 3), st.binary(min_size=4, max_size=4)),
        st.tuples(st.just(FILL), st.integers(1, 5), st.sampled_from([b"\0\0\0\0", b"abcd"])),
        st.tuples(st.just(DONT_CARE), st.integers(1, 5), st.just(b"")),
        st.tuples(st.just(CRC32), st.just(0), st.just(b"crc!")),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(chunks, st.integers(10, 30_000))
def test_a_sparse_image_is_unfolded(parts: list[tuple[int, int, bytes]], step: int) -> None:
    folded, content = sparse_image(parts)
    sparse = Sparse()
    items = fed(sparse, folded, step)
    assert sparse.finish() == len(content)
    assert assembled(items, len(content)) == content


@settings(max_examples=60, deadline=None)
@given(chunks.filter(len), st.data())
def test_a_sparse_image_that_is_cut_or_goes_on_is_refused(
    parts: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    folded, _ = sparse_image(parts)
    cut = data.draw(st.integers(0, len(folded) - 1))
    sparse = Sparse()
    with pytest.raises(ImageError):
        fed(sparse, folded[:cut], 5000)
        sparse.finish()
    with pytest.raises(ImageError, match="goes on after its last chunk"):
        fed(Sparse(), folded + b"x", 5000)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_sparse_image_or_refused(junk: bytes) -> None:
    sparse = Sparse()
    try:
        fed(sparse, struct.pack("<I", 0xED26FF3A) + junk, 50)
        sparse.finish()
    except ImageError:
        pass


def filtered(bmap: str, image: bytes, step: int = 50_000) -> list[Item]:
    raw, wanted = Raw(), Bmap(bmap).filter()
    out = [part for item in fed(raw, image, step) for part in wanted.feed(item)]
    assert wanted.finish(raw.finish()) == len(image)
    return out


IMAGE = b"".join(bytes([65 + number % 7]) * 4096 for number in range(100)) + b"tail"


@given(st.integers(1000, 100_000))
def test_only_what_a_bmap_names_passes(step: int) -> None:
    items = filtered(bmap_of(IMAGE, [(0, 3), (10, 10), (99, 100)]), IMAGE, step)
    named = bytearray(len(IMAGE))
    for first, last in ((0, 3), (10, 10), (99, 100)):
        place = slice(first * 4096, (last + 1) * 4096)
        named[place] = IMAGE[place]
    assert assembled(items, len(IMAGE)) == bytes(named)


def test_an_image_that_is_not_the_bmaps_is_refused() -> None:
    bmap = bmap_of(IMAGE, [(0, 3), (10, 10)])
    other = IMAGE[:41_000] + b"!" + IMAGE[41_001:]
    with pytest.raises(ImageError, match="differs from its bmap in the bytes from 40960 to 45056"):
        filtered(bmap, other)
    with pytest.raises(ImageError, match="ends before byte 45056"):
        filtered(bmap, IMAGE[:42_000])


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("10-10", "11-11", "fails its own checksum"),
        ('version="2.0"', 'version="9.0"', "version 9.0 is not known"),
        ("</bmap>", "", "no XML"),
        ("<?xml", "<!DOCTYPE x><?xml", "document types"),
        ("bmap", "map", "version"),
    ],
)
def test_a_bmap_that_is_wrong_is_named(before: str, after: str, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        Bmap(bmap_of(IMAGE, [(0, 3), (10, 10)]).replace(before, after))
