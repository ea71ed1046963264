"""Image files for tests, made by the book."""

import hashlib
import os
import struct
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

RAW, FILL, DONT_CARE, CRC32 = 0xCAC1, 0xCAC2, 0xCAC3, 0xCAC4


def sparse_image(parts: list[tuple[int, int, bytes]], block: int = 4096) -> tuple[bytes, bytes]:
    """A sparse image, and what it stands for."""
    body, content = b"", b""
    for kind, count, data in parts:
        unfolded = data * (count * block // 4) if kind in (RAW, FILL) else bytes(count * block)
        payload = unfolded if kind == RAW else data
        body += struct.pack("<HHII", kind, 0, count, 12 + len(payload)) + payload
        content += unfolded
    head = struct.pack("<IHHHHIIII", 0xED26FF3A, 1, 0, 28, 12, block, len(content) // block, len(parts), 0)
    return head + body, content


def bmap_of(image: bytes, ranges: list[tuple[int, int]], block: int = 4096) -> str:
    """A bmap file with its own checksum."""
    rows = ""
    for first, last in ranges:
        digest = hashlib.sha256(image[first * block : (last + 1) * block]).hexdigest()
        rows += f'<Range chksum="{digest}"> {first}-{last} </Range>\n'
    text = f"""<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> {len(image)} </ImageSize>
    <BlockSize> {block} </BlockSize>
    <BlocksCount> {-(-len(image) // block)} </BlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> {"0" * 64} </BmapFileChecksum>
    <BlockMap>
{rows}    </BlockMap>
</bmap>
"""
    return text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest())


@contextmanager
def image_in_halves(path: Path, content: bytes, between: Callable[[], object]) -> Generator[Path]:
    """A FIFO that gives the first half of an image, calls `between`, and then gives the rest."""
    os.mkfifo(path)
    failures: list[Exception] = []

    def give() -> None:
        with suppress(BrokenPipeError), path.open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            try:
                between()
            except Exception as e:  # noqa: BLE001 raised in the test
                failures.append(e)
            file.write(content[len(content) // 2 :])

    thread = threading.Thread(target=give, name=path.name, daemon=True)
    thread.start()
    try:
        yield path
    finally:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # lets it go where nobody has read
        thread.join(30)
        path.unlink()
    if failures:
        raise failures[0]
