"""Images from everywhere: compressed, piped, fetched; and what is said when they do not come whole."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from anyio import EndOfStream
from anyio.abc import ByteStream
from click.testing import CliRunner, Result
from jumpstarter.client.core import DriverError, NotAllowed
from jumpstarter.common.utils import serve
from jumpstarter.streams.http import UrlRules
from jumpstarter_driver_storage import transfers
from jumpstarter_driver_storage.client import FlasherClient, StorageMuxFlasherClient
from jumpstarter_driver_storage.driver import FileStorage, MockFlasher, MockStorageMuxFlasher
from jumpstarter_testing.images import bmap_of, sparse_image

zstd: Any = pytest.importorskip("backports.zstd")

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}
MIB = 1 << 20
CONTENT = os.urandom(MIB) + bytes(3 * MIB) + os.urandom(100_001)

every = pytest.mark.parametrize("name", COMPRESS)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    return tmp_path / "medium"


@pytest.fixture(params=["sent", "lent"])
def client(medium: Path, request: pytest.FixtureRequest) -> Generator[StorageMuxFlasherClient]:
    """A client whose files are sent, and one whose exporter reads them itself."""
    with serve(FileStorage(path=str(medium))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        if request.param == "sent":
            sending(client)
        yield client


def sending(client: StorageMuxFlasherClient) -> StorageMuxFlasherClient:
    """A client that sends its files although the exporter is on this host."""
    client.flash = partial(client.flash, lend=False)
    return client


sent = pytest.mark.parametrize("client", ["sent"], indirect=True)
"""A test of what goes over the connection."""


def assert_refused(client: StorageMuxFlasherClient, medium: Path, image: Path, said: str, **options: Any) -> None:
    with pytest.raises((DriverError, OSError), match=said):
        client.flash(image, **options)
    assert client.state() == "host"
    assert client.incomplete() is not None
    assert not medium.read_bytes()[:MIB].strip(b"\0")
    with pytest.raises(DriverError, match="the medium is incomplete"):
        client.dut()


@every
def test_compressed_images_are_known_by_their_content(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path, name: str
) -> None:
    image = tmp_path / "image.whatever"
    image.write_bytes(COMPRESS[name](CONTENT[:MIB]) + COMPRESS[name](CONTENT[MIB:]) + bytes(512))
    result = client.flash(image)
    assert result is not None
    assert medium.read_bytes() == CONTENT
    assert result.format == f"{name}+raw"
    assert result.sha256 == hashlib.sha256(CONTENT).hexdigest()
    client.flash(image, decompress=False)
    assert medium.read_bytes() == image.read_bytes()


@every
@pytest.mark.parametrize("keep", [1, 100, -1, -200_000])
def test_a_compressed_image_that_is_cut_is_no_image(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path, name: str, keep: int
) -> None:
    image = tmp_path / "image"
    image.write_bytes(COMPRESS[name](CONTENT)[:keep])
    if keep == 1:  # nobody can tell that this was to be something else
        client.flash(image)
        return
    assert_refused(client, medium, image, f"{name} data end in the middle")


@every
def test_a_compressed_image_that_is_damaged_is_no_image(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path, name: str
) -> None:
    image, data = tmp_path / "image", bytearray(COMPRESS[name](CONTENT))
    data[len(data) // 2] ^= 16
    image.write_bytes(data)
    assert_refused(client, medium, image, f"{name} data (is damaged|end in the middle)")
    image.write_bytes(COMPRESS[name](CONTENT) + b"and more")
    assert_refused(client, medium, image, f"{name} data (goes on with something else|end in the middle)")


def test_another_checksum_than_expected_is_no_image(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.xz"
    image.write_bytes(lzma.compress(CONTENT))
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    client.flash(image, sha256=digest.upper())
    assert_refused(client, medium, image, f"has the sha256 {digest}, not {'0' * 64}; fetch", sha256="0" * 64)
    with pytest.raises(DriverError, match="is not 64 hexadecimal digits"):
        client.flash(image, sha256="beef")


def test_a_bomb_fills_neither_memory_nor_disk(tmp_path: Path) -> None:
    image = tmp_path / "bomb.gz"
    image.write_bytes(gzip.compress(bytes(16 * MIB)) * 256)  # 4 GiB in 4 MiB
    with serve(FileStorage(path=str(tmp_path / "medium"), size_bytes=64 * MIB)) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        with pytest.raises(DriverError, match="does not fit: the medium has 67108864 bytes"):
            client.flash(image)
    assert (tmp_path / "medium").stat().st_blocks * 512 < 2 * MIB


def test_sparse_images_are_unfolded(client: StorageMuxFlasherClient, medium: Path, tmp_path: Path) -> None:
    folded, content = sparse_image([(0xCAC1, 300, b"data"), (0xCAC3, 50, b""), (0xCAC2, 700, b"fill")])
    image = tmp_path / "image.simg.xz"
    image.write_bytes(lzma.compress(folded))
    result = client.flash(image)
    assert result is not None
    assert result.format == "xz+sparse"
    assert medium.read_bytes() == content
    image.write_bytes(lzma.compress(folded[:-10]))
    assert_refused(client, medium, image, "the sparse image ends too early")


def test_only_what_a_bmap_names_is_written(client: StorageMuxFlasherClient, medium: Path, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB)
    image, bmap = tmp_path / "image.gz", tmp_path / "image.bmap"
    image.write_bytes(gzip.compress(content))
    bmap.write_text(bmap_of(content, [(0, 9), (500, 519)]))
    result = client.flash(image, bmap=bmap)
    assert result is not None
    assert (result.bytes, result.written, result.format) == (3 * MIB, 30 * 4096, "gzip+bmap")
    written = medium.read_bytes()
    assert written[: 10 * 4096] == content[: 10 * 4096]
    assert written[500 * 4096 : 520 * 4096] == content[500 * 4096 : 520 * 4096]
    bmap.write_text(bmap_of(os.urandom(3 * MIB), [(0, 9)]))
    assert_refused(client, medium, image, "the image differs from its bmap", bmap=bmap)


@sent
def test_a_second_flash_sends_only_what_is_new(client: StorageMuxFlasherClient, medium: Path, tmp_path: Path) -> None:
    image, content = tmp_path / "image", bytearray(os.urandom(16 * MIB))
    image.write_bytes(content)
    first = client.flash(image)
    content[5 * MIB : 5 * MIB + 160_000] = os.urandom(160_000)  # 1 %
    image.write_bytes(content)
    second = client.flash(image)
    assert first is not None
    assert second is not None
    assert first.received > 16 * MIB
    assert second.received < 16 * MIB * 5 // 100
    assert medium.read_bytes() == content
    assert second.sha256 == hashlib.sha256(content).hexdigest()


@sent
def test_a_kept_block_that_rotted_is_sent_again(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path, own_folders: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(4 * MIB))
    client.flash(image)
    [kept] = own_folders.rglob("*.data")
    rotten = bytearray(kept.read_bytes())
    rotten[MIB] ^= 1
    kept.write_bytes(rotten)
    again = client.flash(image)
    assert again is not None
    assert 65536 <= again.received < 70_000
    assert medium.read_bytes() == image.read_bytes()


def test_the_room_for_kept_blocks_is_limited(tmp_path: Path, own_folders: Path) -> None:
    with serve(FileStorage(path=str(tmp_path / "medium"), cache_bytes=6 * MIB)) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        for _ in range(4):
            (tmp_path / "image").write_bytes(os.urandom(4 * MIB))
            client.flash(tmp_path / "image", lend=False)
    assert sum(path.stat().st_size for path in own_folders.rglob("*.data")) <= 64 * MIB
    with serve(FileStorage(path=str(tmp_path / "medium"), cache_bytes=0)) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        before = list(own_folders.rglob("*.data"))
        client.flash(tmp_path / "image", lend=False)
        assert list(own_folders.rglob("*.data")) == before


class Failing(ByteStream):
    """A local file that cannot be read to its end."""

    def __init__(self) -> None:
        self._left = 30

    async def receive(self, max_bytes: int = 65536) -> bytes:
        self._left -= 1
        if self._left == 0:
            raise OSError("the client's disk is broken")
        return os.urandom(100_000)

    async def send(self, item: bytes) -> None:
        raise EndOfStream

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def test_a_source_that_fails_is_no_image(client: StorageMuxFlasherClient, medium: Path) -> None:
    async def send() -> None:
        async with client.resource_async(Failing()) as handle:
            await client.call_async("write", handle)

    with pytest.raises(OSError, match="the client's disk is broken"):
        client.portal.call(send)
    deadline = time.monotonic() + 10
    while client.incomplete() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.incomplete() is not None


def test_fewer_bytes_than_announced_are_no_image(client: StorageMuxFlasherClient) -> None:
    class Short(Failing):
        async def receive(self, max_bytes: int = 65536) -> bytes:
            self._left -= 1
            if self._left == 0:
                raise EndOfStream
            return bytes(range(250)) * 400

    async def send() -> None:
        async with client.resource_async(Short(), size=3_000_000) as handle:
            await client.call_async("write", handle)

    with pytest.raises(DriverError, match="2900000 bytes came, and not 3000000"):
        client.portal.call(send)
    assert client.incomplete() is not None


def test_the_options_of_the_public_release_work(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(COMPRESS["zstd"](CONTENT))
    with serve(MockStorageMuxFlasher()) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        client.flash(str(image), compression="zstd")
        client.write_local_file(image)
        client.read_local_file(tmp_path / "copy", compression="gzip")
        assert gzip.decompress((tmp_path / "copy").read_bytes()) == CONTENT
    with serve(MockFlasher()) as client:
        assert isinstance(client, FlasherClient)
        client.flash({"boot": image, "root": image}, compression="zstd")
        client.flash(image, target="root")
        client.dump(tmp_path / "copy", target="root")
        assert (tmp_path / "copy").read_bytes() == CONTENT


# URLs


class Server(ThreadingHTTPServer):
    """A web server that serves one image, well and badly."""

    daemon_threads = True
    asked: list[dict[str, str]]
    released: threading.Event


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append({key.lower(): value for key, value in self.headers.items()})
        match self.path.split("/")[-1]:
            case "whole":
                self.answer(len(CONTENT), CONTENT)
            case "cut":
                self.answer(len(CONTENT), CONTENT[:-1000])
            case "endless":
                self.protocol_version = "HTTP/1.0"
                self.answer(None, CONTENT)
            case "stall":
                self.answer(len(CONTENT), CONTENT[:500_000])
                self.server.released.wait(20)
            case "away":
                self.redirect("http://127.0.0.1:9/secret")
            case "there":
                self.redirect("whole")
            case "loop":
                self.redirect("loop")
            case _:
                self.send_error(404)

    def answer(self, length: int | None, body: bytes) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server() -> Generator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked, server.released = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Impatient(FileStorage):
    """Waits a shorter time for a server."""

    def url_rules(self) -> UrlRules:
        return UrlRules(allowed=tuple(self.allowed_urls), max_bytes=self.max_download_bytes, stall=0.5)


@pytest.fixture
def fetching(medium: Path, server: Server) -> Generator[tuple[StorageMuxFlasherClient, str]]:
    base = f"http://127.0.0.1:{server.server_port}/images"
    with serve(Impatient(path=str(medium), allowed_urls=[f"{base}/"], max_download_bytes=6 * MIB)) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        yield client, base


def test_the_exporter_fetches_an_image(fetching: tuple[StorageMuxFlasherClient, str], medium: Path) -> None:
    client, base = fetching
    for name in ("whole", "there"):
        client.flash(f"{base}/{name}", sha256=hashlib.sha256(CONTENT).hexdigest())
        assert medium.read_bytes() == CONTENT
        assert client.state() == "dut"


SAID = {
    "cut": r"the download ended after \d+ of 4294305 bytes",
    "endless": "does not say how long the file is",
    "stall": r"the server sent nothing for a while, after \d+ bytes",
    "missing": "the server says 404",
    "loop": "Too many redirects, more than 10",
}


@pytest.mark.parametrize("name", SAID)
def test_a_download_that_is_not_whole_is_no_image(fetching: tuple[StorageMuxFlasherClient, str], name: str) -> None:
    client, base = fetching
    with pytest.raises(DriverError, match=SAID[name]):
        client.flash(f"{base}/{name}")
    assert client.state() == "host"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("{base}/away", r"http://127.0.0.1:9/secret: only https is used"),
        ("http://127.0.0.1:{port}/other/whole", "only https is used; use https, or add it to allowed_urls"),
        ("http://127.0.0.1:{port}/images/../other/whole", "only https is used"),
        ("http://127.0.0.1:{port}/images/%2e%2e/whole", "only https is used"),
        ("https://127.0.0.1:{port}/images/whole", r"127\.0\.0\.1 is not a public address"),
        ("https://[::1]:{port}/whole", "::1 is not a public address"),
        ("https://localhost:{port}/whole", "is not a public address"),
    ],
)
def test_the_exporter_is_not_led_astray(
    fetching: tuple[StorageMuxFlasherClient, str], server: Server, url: str, said: str
) -> None:
    client, base = fetching
    asked = len(server.asked)
    with pytest.raises(NotAllowed, match=said):
        client.flash(url.format(base=base, port=server.server_port))
    assert len(server.asked) - asked == url.startswith("{base}")


@pytest.mark.parametrize("name", ["cut", "endless", "stall", "missing", "loop"])
def test_what_the_client_does_not_read_whole_is_no_image(
    fetching: tuple[StorageMuxFlasherClient, str], medium: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "_own_rules", lambda: UrlRules(anywhere=True, stall=0.5))
    client, base = fetching
    with pytest.raises(OSError, match=SAID[name]):
        client.flash(f"{base}/{name}", fetch="client")
    assert client.state() == "host"
    client.flash(f"{base}/there", fetch="client")
    assert medium.read_bytes() == CONTENT
    assert client.state() == "dut"


def test_who_fetches_is_said_by_an_option(medium: Path, server: Server) -> None:
    """Of the command; the exporter may not read this server, its user may."""
    url = f"http://127.0.0.1:{server.server_port}/images/whole"
    with serve(FileStorage(path=str(medium))) as client:

        def flash(*options: str) -> Result:
            return CliRunner().invoke(client.cli(), ["flash", url, *options])  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]

        for options in ([], ["--fetch", "exporter"]):
            refused = flash(*options)
            assert isinstance(refused.exception, NotAllowed)
            assert "only https is used; use https, or add it to allowed_urls" in str(refused.exception)
            assert not server.asked
        done = flash("--fetch", "client", "--output", "json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["sha256"] == hashlib.sha256(CONTENT).hexdigest()
        assert medium.read_bytes() == CONTENT
        assert flash("--fetch", "nobody").exit_code == 2
    with serve(FileStorage(path=str(medium), allowed_urls=[url])) as client:
        assert flash("--fetch", "exporter").exit_code == 0
        assert "wrote 4294305 bytes" in flash().stdout


def test_a_download_that_is_too_large_is_refused(medium: Path, server: Server) -> None:
    base = f"http://127.0.0.1:{server.server_port}/"
    with serve(FileStorage(path=str(medium), allowed_urls=[base], max_download_bytes=MIB)) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        with pytest.raises(DriverError, match="the file has 4294305 bytes, more than the 1048576 that are allowed"):
            client.flash(f"{base}whole")
