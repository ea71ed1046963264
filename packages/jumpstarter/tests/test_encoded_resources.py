"""Files that are compressed on their way: the driver sees the content, whoever decompresses it."""

import gzip
import hashlib
import lzma
from typing import Any

import pytest
from anyio import EndOfStream
from anyio.abc import ObjectStream
from jumpstarter.client import DriverClient
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export

CONTENT = b"".join(b"line %d\n" % number for number in range(200_000))


class Store(Driver):
    """Keeps the digest of what it is sent, and sends lines."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    @export
    async def store(self, src: Any) -> str:
        digest = hashlib.sha256()
        async with self.resource(src) as stream:
            async for data in stream:
                digest.update(data)
        return digest.hexdigest()

    @export
    async def fetch(self, dst: Any) -> None:
        async with self.resource(dst) as stream:
            for start in range(0, len(CONTENT), 100_000):
                await stream.send(CONTENT[start : start + 100_000])


class Memory(ObjectStream[bytes]):
    """A file in memory."""

    def __init__(self, data: bytes = b"") -> None:
        self._left = data
        self.got = bytearray()

    async def receive(self) -> bytes:
        if not self._left:
            raise EndOfStream
        piece, self._left = self._left[:50_000], self._left[50_000:]
        return piece

    async def send(self, item: bytes) -> None:
        self.got += item

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def transfer(client: DriverClient, method: str, file: Memory, encoding: str) -> Any:
    async with client.resource_async(file, encoding) as handle:
        return await client.call_async(method, handle)


@pytest.mark.parametrize("disabled", ["", "1"])
def test_the_driver_sees_the_content(monkeypatch: pytest.MonkeyPatch, disabled: str) -> None:
    monkeypatch.setenv("JMP_DISABLE_COMPRESSION", disabled)
    with serve(Store()) as client:
        sent = client.portal.call(transfer, client, "store", Memory(lzma.compress(CONTENT)), "xz")
        assert sent == hashlib.sha256(CONTENT).hexdigest()
        file = Memory()
        client.portal.call(transfer, client, "fetch", file, "gzip")
        assert gzip.decompress(bytes(file.got)) == CONTENT


@pytest.mark.parametrize("disabled", ["", "1"])
def test_compressed_data_that_are_cut_are_never_a_shorter_file(monkeypatch: pytest.MonkeyPatch, disabled: str) -> None:
    monkeypatch.setenv("JMP_DISABLE_COMPRESSION", disabled)
    with serve(Store()) as client, pytest.raises((DriverError, ValueError), match="xz data end in the middle"):
        client.portal.call(transfer, client, "store", Memory(lzma.compress(CONTENT)[:-100]), "xz")


def test_an_encoding_that_nobody_knows_is_named() -> None:
    with serve(Store()) as client, pytest.raises(ValueError, match="'lha' is not known; known are gzip, xz, bz2, zstd"):
        client.portal.call(transfer, client, "store", Memory(b""), "lha")
