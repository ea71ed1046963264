"""Images in object stores and in registries of OCI artifacts, read by the exporter or by the client.

The peers are opendal's own services, and servers on loopback that speak S3 and the OCI distribution API.
"""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from jumpstarter.client.core import DriverError, NotAllowed
from jumpstarter.common.exceptions import ArgumentError
from jumpstarter.common.utils import serve
from jumpstarter.streams.encoding import Compression
from jumpstarter.streams.http import UrlRules
from jumpstarter_driver_storage.adapter import OpendalAdapter, clean_filename, operator_for_path, path_with_query
from jumpstarter_driver_storage.client import FlasherClient, StorageMuxFlasherClient
from jumpstarter_driver_storage.driver import FileStorage, MockFlasher
from jumpstarter_driver_storage.oci import reference_of
from jumpstarter_driver_storage.origins import Credentials

opendal: Any = pytest.importorskip("opendal")

MIB = 1 << 20
CONTENT = os.urandom(2 * MIB) + bytes(MIB) + os.urandom(100_001)
USER, PASSWORD, KEY = "reader", "open sesame", "AKIAEXAMPLE"


class Peer(ThreadingHTTPServer):
    """A server of whatever its handler speaks."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.cuts: list[int] = []
        """Bytes that the next answers lack."""
        self.is_private = True
        self.elsewhere: str | None = None
        self.stalled: threading.Event | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.server.cuts.pop(0) if self.server.cuts else 0
        if self.server.stalled is not None and len(body) > MIB:
            self.wfile.write(body[:MIB])
            self.server.stalled.wait(20)
        self.wfile.write(body[: max(0, len(body) - cut)])
        self.close_connection = bool(cut) or self.close_connection


class S3(Handler):
    """Objects by their paths, for requests that are signed with the key."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers.items())))
        if KEY not in self.headers.get("Authorization", ""):
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
            return
        found = self.server.objects.get(self.path)
        if found is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>")
            return
        if self.command == "HEAD":
            self.answer(200, Content_Length=str(len(found)))
            return
        first = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        begin, end = int(first[0] or 0), min(int(first[2] or len(found) - 1), len(found) - 1)
        self.answer(206, found[begin : end + 1], Content_Range=f"bytes {begin}-{end}/{len(found)}")

    def do_PUT(self) -> None:
        self.server.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, ETag='"1"')


class Oci(Handler):
    """A registry that gives tokens to those who know the password."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers.items())))
        path, authorization = self.path.partition("?")[0], self.headers.get("Authorization")
        if path == "/token":
            right = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if authorization == f"Basic {right}" and "scope=repository%3Aboards%2Fone%3Apull" in self.path:
                self.answer(200, b'{"token": "tok"}')
            else:
                self.answer(401, b"{}")
            return
        if path.startswith("/elsewhere/"):
            self.answer(200, self.server.objects[path.removeprefix("/elsewhere/")])
            return
        if self.server.is_private and authorization != "Bearer tok":
            realm = f'Bearer realm="http://{self.server.host}/token",service="reg",scope="repository:boards/one:pull"'
            self.answer(401, b"{}", WWW_Authenticate=realm)
            return
        *_, kind, what = path.split("/")
        what = self.server.tags.get(what, what)
        if kind == "blobs" and self.server.elsewhere:
            self.answer(307, Location=f"{self.server.elsewhere}/elsewhere/{what}")
        elif what in self.server.objects:
            self.answer(200, self.server.objects[what], Content_Type=self.server.types.get(what, "x/y"))
        else:
            self.answer(404, b"{}")


def running(handler: type[BaseHTTPRequestHandler]) -> Generator[Peer]:
    peer = Peer(handler)
    thread = threading.Thread(target=peer.serve_forever, args=(0.02,))
    thread.start()
    yield peer
    if peer.stalled is not None:
        peer.stalled.set()
    peer.shutdown()
    thread.join()
    peer.server_close()


@pytest.fixture
def s3() -> Generator[Peer]:
    yield from running(S3)


@pytest.fixture
def registry() -> Generator[Peer]:
    yield from running(Oci)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    return tmp_path / "medium"


def flasher(client: Any) -> StorageMuxFlasherClient:
    assert isinstance(client, StorageMuxFlasherClient)
    return client


def s3_options(peer: Peer, key: str = KEY) -> dict[str, str | int | bool]:
    return {
        "bucket": "images",
        "region": "nowhere",
        "endpoint": f"http://{peer.host}",
        "access_key_id": key,
        "secret_access_key": "s",
        "disable_config_load": True,
    }


# stores of the exporter


def test_the_exporter_reads_a_store_that_it_is_configured_with(s3: Peer, medium: Path, tmp_path: Path) -> None:
    s3.objects["/images/boards/one%20a.img"] = CONTENT
    stores: Any = {"lab": {"scheme": "s3", **s3_options(s3)}, "disk": {"scheme": "fs", "root": str(tmp_path)}}
    (tmp_path / "on-disk").write_bytes(CONTENT[::-1])
    with serve(FileStorage(path=str(medium), stores=stores)) as served:
        client = flasher(served)
        digest = hashlib.sha256(CONTENT).hexdigest()
        result = client.flash("store://lab/boards/one%20a.img", sha256=digest)
        assert result is not None
        assert (result.sha256, result.received) == (digest, len(CONTENT))
        assert medium.read_bytes() == CONTENT
        assert "Credential=AKIAEXAMPLE" in s3.asked[-1][1]["authorization"]
        client.flash("store://disk/on-disk")
        assert medium.read_bytes() == CONTENT[::-1]
        assert client.state() == "dut"


def refused(client: StorageMuxFlasherClient, url: str, said: str, **options: Any) -> None:
    with pytest.raises((DriverError, OSError), match=said) as e:
        client.flash(url, **options)
    assert "\n" not in str(e.value)
    assert client.state() == "host"


def test_what_a_store_does_not_have_is_named(s3: Peer, medium: Path, tmp_path: Path) -> None:
    stores: Any = {
        "lab": {"scheme": "s3", **s3_options(s3)},
        "closed": {"scheme": "s3", **s3_options(s3, "WRONG")},
        "disk": {"scheme": "fs", "root": str(tmp_path / "root")},
        "odd": {"scheme": "nosuch"},
    }
    (tmp_path / "root/folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "root/link").symlink_to(tmp_path / "secret")
    with serve(FileStorage(path=str(medium), stores=stores)) as served:
        client = flasher(served)
        refused(client, "store://lab/missing.img", "store://lab/missing.img: ")
        refused(client, "store://closed/missing.img", "store://closed/missing.img: ")
        refused(client, "store://other/x.img", "there is no store other; known: closed, disk, lab, odd; add it")
        refused(client, "store://disk/folder/", "this is a folder")
        refused(client, "store://disk/link", "this is a link to somewhere else")
        refused(client, "store://disk/../secret", "has no . and .. in it")
        refused(client, "store://disk/%2e%2e/secret", "has no . and .. in it")
        refused(client, "store://odd/x", "the store of the scheme nosuch cannot be used")


def test_an_object_that_does_not_come_whole_is_no_image(s3: Peer, medium: Path) -> None:
    s3.objects["/images/cut"] = CONTENT
    with serve(FileStorage(path=str(medium), stores={"lab": {"scheme": "s3", **s3_options(s3)}})) as served:
        client = flasher(served)
        s3.cuts = [1000]
        client.flash("store://lab/cut")  # it goes on where it was cut
        assert medium.read_bytes() == CONTENT
        s3.cuts = [1000] * 20
        refused(client, "store://lab/cut", "store://lab/cut: ")
        assert client.incomplete() is not None


class Impatient(FileStorage):
    def url_rules(self) -> UrlRules:
        return UrlRules(max_bytes=4 * MIB, stall=0.5)


def test_a_store_that_stalls_or_has_too_much_is_left(s3: Peer, medium: Path) -> None:
    s3.objects |= {"/images/stall": CONTENT, "/images/large": bytes(5 * MIB)}
    with serve(Impatient(path=str(medium), stores={"lab": {"scheme": "s3", **s3_options(s3)}})) as served:
        client = flasher(served)
        refused(client, "store://lab/large", "the object has 5242880 bytes, more than the 4194304 that are allowed")
        s3.stalled = threading.Event()
        refused(client, "store://lab/stall", "store://lab/stall: .*(said nothing for 0.5 s|timeout)")


def test_without_the_library_the_error_says_what_to_install(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opendal", None)
    stores: Any = {"disk": {"scheme": "fs", "root": "/"}}
    with serve(FileStorage(path=str(medium), stores=stores)) as served:
        client = flasher(served)
        with pytest.raises(DriverError, match=r"pip install 'jumpstarter-driver-storage\[opendal\]'"):
            client.flash("store://disk/etc/hostname")
        with pytest.raises(ImportError, match=r"pip install 'jumpstarter-driver-storage\[opendal\]'"):
            client.flash("s3://bucket/key")


def test_the_library_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, jumpstarter_driver_storage.driver, jumpstarter_driver_storage.client\n"
        "import jumpstarter_driver_storage.transfers\n"
        "print([name for name in ('opendal', 'http.client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# stores of the client


def test_the_client_reads_and_writes_stores(s3: Peer, medium: Path) -> None:
    s3.objects["/images/a.img"] = CONTENT
    with serve(FileStorage(path=str(medium))) as served:
        client = flasher(served)
        options = "&".join(f"{name}={value}" for name, value in s3_options(s3).items() if name != "bucket")
        result = client.flash(f"s3://images/a.img?{options.replace('True', 'true')}")
        assert result is not None
        assert result.received >= len(CONTENT) - MIB
        assert medium.read_bytes() == CONTENT

        memory = opendal.Operator("memory")
        memory.write("b.img", CONTENT[::-1])
        client.write_file(memory, "b.img")
        assert medium.read_bytes() == CONTENT[::-1]
        client.read_file(memory, "copy.img")
        assert memory.read("copy.img") == CONTENT[::-1]
        client.flash("b.img", operator=memory)
        client.dump("copy.img.gz", operator=memory, compression="gzip")
        with pytest.raises(FileNotFoundError, match="missing"):
            client.flash("missing", operator=memory)
        with pytest.raises(ArgumentError, match="only the exporter can fetch"):
            client.flash("store://lab/x", fetch="client")
        with pytest.raises(ArgumentError, match="let the client fetch it"):
            client.flash("s3://images/a.img", fetch="exporter")
        with pytest.raises(ArgumentError, match="is a local file"):
            client.flash(medium, fetch="client")
        with pytest.raises(ValueError, match="this is no URL of a store that is known here"):
            client.flash("gopher://images/a.img")


def test_a_flasher_takes_operators(tmp_path: Path) -> None:
    memory = opendal.Operator("memory")
    memory.write("boot", b"boot" * 1000)
    memory.write("root", b"root" * 1000)
    with serve(MockFlasher()) as client:
        assert isinstance(client, FlasherClient)
        client.flash({"boot": "boot", "root": "root"}, operator={"boot": memory, "root": memory})
        client.dump("copy", target="root", operator=memory)
        assert memory.read("copy") == b"root" * 1000
        with pytest.raises(ArgumentError, match="the names are the targets"):
            client.flash({"boot": "boot"}, operator={"root": memory})


def test_drivers_with_a_way_of_their_own_get_handles(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(CONTENT)
    path, disk, scheme = operator_for_path(tmp_path / "image")
    assert scheme == "fs"
    with serve(MockFlasher()) as client:
        with OpendalAdapter(client=client, operator=disk, path=path) as handle:
            client.call("flash", handle, "boot")
        copy = tmp_path / "copy.gz"
        with OpendalAdapter(client=client, operator=disk, path=copy, mode="wb", compression=Compression.GZIP) as handle:
            client.call("dump", handle, "boot")
        assert gzip.decompress(copy.read_bytes()) == CONTENT
        url = "https://files.example/image"
        with OpendalAdapter(client=client, operator=disk, path=path, original_url=url) as handle:
            assert (handle["kind"], handle["url"]) == ("presigned_request", url)


def test_names_of_files_and_urls_are_taken_apart_as_the_public_release_does() -> None:
    assert clean_filename("https://h/x/y.img?sig=1&b=2") == clean_filename(Path("/x/y.img")) == "y.img"
    assert path_with_query(urlparse("https://h/x/y.img?sig=1&b=2")) == "/x/y.img?sig=1&b=2"
    assert operator_for_path("http://h:80/x/y.img")[::2] == (Path("/x/y.img"), "http")


def test_what_was_not_dumped_whole_is_not_in_the_store(tmp_path: Path, medium: Path) -> None:
    disk = opendal.Operator("fs", root=str(tmp_path))
    with serve(FileStorage(path=str(medium))) as client, pytest.raises((DriverError, OSError)):
        flasher(client).dump("copy.img", operator=disk)  # there is nothing to read
    assert not (tmp_path / "copy.img").exists()


# registries


def push(registry: Peer, *layers: tuple[str, bytes], tag: str = "1", **more: Any) -> str:
    """Put an artifact into a registry; returns the digest of its manifest."""
    described: list[dict[str, Any]] = []
    for title, content in layers:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        registry.objects[digest] = content
        described.append(
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",  # what oras says of any file
                "digest": digest,
                "size": len(content),
                **({"annotations": {"org.opencontainers.image.title": title}} if title else {}),
            }
        )
    return put_manifest(registry, {"schemaVersion": 2, "layers": described, **more}, tag)


def put_manifest(registry: Peer, manifest: dict[str, Any], tag: str) -> str:
    body = json.dumps(manifest).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    registry.objects[digest] = body
    registry.tags[tag] = digest
    return digest


@pytest.fixture
def pulling(registry: Peer, medium: Path) -> Generator[tuple[StorageMuxFlasherClient, str]]:
    credentials = {registry.host: Credentials(username=USER, password=PASSWORD)}
    with serve(
        FileStorage(
            path=str(medium),
            allowed_urls=[f"http://{registry.host}/"],
            max_download_bytes=6 * MIB,
            registry_credentials=credentials,
        )
    ) as client:
        yield flasher(client), f"oci://{registry.host}/boards/one"


def test_the_exporter_reads_an_artifact(
    registry: Peer, pulling: tuple[StorageMuxFlasherClient, str], medium: Path
) -> None:
    client, base = pulling
    digest = push(registry, ("board.img", CONTENT))
    client.flash(f"{base}:1")
    assert medium.read_bytes() == CONTENT
    client.flash(f"{base}@{digest}")
    push(registry, ("board.img", CONTENT[::-1]), ("notes.txt", b"x" * 10_000), tag="latest")
    client.flash(f"{base}#board.img")
    assert medium.read_bytes() == CONTENT[::-1]
    assert client.state() == "dut"


def test_the_token_does_not_go_to_where_a_layer_is_redirected(
    registry: Peer, pulling: tuple[StorageMuxFlasherClient, str], medium: Path
) -> None:
    client, base = pulling
    push(registry, ("board.img", CONTENT))
    registry.elsewhere = f"http://localhost:{registry.server_port}"
    with pytest.raises(NotAllowed, match=r"http://localhost:.*only https is used"):
        client.flash(f"{base}:1")
    registry.elsewhere = f"https://127.0.0.2:{registry.server_port}"
    with pytest.raises(NotAllowed, match=r"127\.0\.0\.2 is not a public address"):
        client.flash(f"{base}:1")
    allowed = [f"http://{registry.host}/", f"http://localhost:{registry.server_port}/elsewhere/"]
    registry.elsewhere, registry.is_private = allowed[1].removesuffix("/elsewhere/"), True
    credentials = {registry.host: Credentials(username=USER, password=PASSWORD)}
    with serve(FileStorage(path=f"{medium}2", allowed_urls=allowed, registry_credentials=credentials)) as served:
        flasher(served).flash(f"{base}:1")
    path, headers = registry.asked[-1]
    assert path.startswith("/elsewhere/")
    assert "Authorization" not in headers


def test_of_an_index_the_manifest_of_a_platform_is_read(
    registry: Peer, pulling: tuple[StorageMuxFlasherClient, str], medium: Path
) -> None:
    client, base = pulling
    arm, x86 = push(registry, ("i", CONTENT), tag="arm"), push(registry, ("i", CONTENT[:MIB]), tag="x86")
    platforms = {arm: {"os": "linux", "architecture": "arm64"}, x86: {"os": "linux", "architecture": "amd64"}}
    put_manifest(registry, {"manifests": [{"digest": d, "platform": p} for d, p in platforms.items()]}, "all")
    client.flash(f"{base}:all?platform=linux/arm64")
    assert medium.read_bytes() == CONTENT
    refused(client, f"{base}:all", "has 2 manifests, none for no platform; name one .*linux/amd64, linux/arm64")
    put_manifest(registry, {"manifests": [{"digest": x86}]}, "single")
    client.flash(f"{base}:single")
    assert medium.read_bytes() == CONTENT[:MIB]


def test_what_is_no_image_in_a_registry_is_named(
    registry: Peer, pulling: tuple[StorageMuxFlasherClient, str], medium: Path
) -> None:
    client, base = pulling
    refused(client, f"{base}:missing", "the server says 404")
    push(registry, ("a.img", CONTENT), ("b.img", CONTENT[:MIB]))
    refused(client, f"{base}:1", "has 2 layers; name one by its title, as #TITLE at the end: a.img, b.img")
    refused(client, f"{base}:1#c.img", "has no layer with the title c.img; its titles are a.img, b.img")
    push(registry, ("", CONTENT), tag="tar")
    refused(client, f"{base}:tar", "the layer is an archive of files, not an image")
    push(registry, ("large", os.urandom(7 * MIB)), tag="large")
    refused(client, f"{base}:large", "has 7340032 bytes, more than the 6291456 allowed")
    refused(client, f"oci://{registry.host}/Boards", "an artifact is oci://HOST/NAME:TAG")
    refused(client, "oci://127.0.0.1:9/boards/one", "127.0.0.1 is not a public address; add it to allowed_urls")
    registry.objects[push(registry, ("x", CONTENT), tag="odd")] = b"[]"
    refused(client, f"{base}:odd", "no manifest")
    right = push(registry, ("x", CONTENT), tag="forged")
    registry.objects[right] = registry.objects[right] + b" "
    refused(client, f"{base}@{right}", "the manifest has another digest than")
    push(registry, ("x", CONTENT), tag="changed")
    registry.objects[f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"] = CONTENT[:-1] + b"!"
    refused(client, f"{base}:changed", "the layer has the digest sha256:")
    assert client.incomplete() is not None


def test_a_registry_that_refuses_is_named(registry: Peer, medium: Path) -> None:
    push(registry, ("board.img", CONTENT))
    credentials = {registry.host: Credentials(username=USER, password="wrong")}
    allowed = [f"http://{registry.host}/"]
    url = f"oci://{registry.host}/boards/one:1"
    with serve(FileStorage(path=str(medium), allowed_urls=allowed, registry_credentials=credentials)) as served:
        refused(flasher(served), url, "the registry refuses reader .*; give user and password for")
    with serve(FileStorage(path=str(medium), allowed_urls=allowed)) as served:
        refused(flasher(served), url, "the registry refuses without a name")
        registry.is_private = False
        flasher(served).flash(url)
    assert medium.read_bytes() == CONTENT


def test_the_client_reads_an_artifact_with_its_own_rights(
    registry: Peer, medium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(registry, ("board.img", CONTENT))
    login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {registry.host: {"auth": login}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with serve(FileStorage(path=str(medium))) as served:
        client = flasher(served)
        url = f"oci://{registry.host}/boards/one:1"
        with pytest.raises(NotAllowed, match="is not a public address"):
            client.flash(url)
        client.flash(url, fetch="client")
        assert medium.read_bytes() == CONTENT
        registry.cuts = [0, 0, 0, 1000]
        with pytest.raises(OSError, match=r"download ended after|ended too early"):
            client.flash(url, fetch="client")
        assert client.state() == "host"
        # where the client failed before the exporter had begun, the medium is as it was
        assert client.incomplete() is not None or medium.read_bytes() == CONTENT


def test_the_client_reads_a_web_server(registry: Peer, medium: Path) -> None:
    registry.objects["image"] = CONTENT
    url = f"http://{registry.host}/elsewhere/image"
    with serve(FileStorage(path=str(medium))) as served:
        client = flasher(served)
        with pytest.raises(NotAllowed, match="only https is used"):
            client.flash(url)
        result = client.flash(url, fetch="client", sha256=hashlib.sha256(CONTENT).hexdigest())
        assert result is not None
        assert medium.read_bytes() == CONTENT
        again = client.flash(url, fetch="client")
        assert again is not None
        assert again.received < MIB  # the exporter has the blocks
    with serve(MockFlasher()) as other:
        assert isinstance(other, FlasherClient)
        other.flash(url, fetch="client", target="boot")
        other.dump(medium, target="boot")
        assert medium.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("oci://reg.lab:5000/a/b:1.2", ("reg.lab:5000", "a/b", "1.2")),
        ("oci://localhost/a", ("localhost", "a", "latest")),
        ("oci://org/image:tag", ("docker.io", "org/image", "tag")),
        (f"oci://reg.lab/a:1@sha256:{'0' * 64}", ("reg.lab", "a", f"sha256:{'0' * 64}")),
    ],
)
def test_references_are_read_as_others_do(url: str, named: tuple[str, str, str]) -> None:
    assert reference_of(url)[:3] == named


@pytest.mark.parametrize("rest", ["", "/", "/A", "/a@sha256:12", "/a/../b", "/a:b:c", "/a b", "/a//b"])
def test_what_is_no_reference_is_refused(rest: str) -> None:
    with pytest.raises(ValueError, match="an artifact is oci://HOST/NAME:TAG"):
        reference_of(f"oci://reg.lab{rest}")
