"""Files that a driver writes to a URL by PUT."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from jumpstarter.client.base import DriverClient
from jumpstarter.client.core import DriverError, DriverInvalidArgument
from jumpstarter.client.errors import NotAllowed
from jumpstarter.client.flasher import FlasherClient
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export
from jumpstarter.streams.http import UrlRules

MIB = 1 << 20


class Store(ThreadingHTTPServer):
    """Keeps what is put, and answers as its path says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, tuple[str | None, int, str]] = {}
        """Of each path: the header X-Key, the size, and the digest."""

        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Store  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_PUT(self) -> None:
        if self.path == "/breaks":
            self.rfile.read(10)
            self.connection.close()
            return
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.files[self.path] = self.headers["X-Key"], len(data), hashlib.sha256(data).hexdigest()
        self.send_response({"/refused": 403, "/moved": 307}.get(self.path, 200))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Dumper(Driver):
    """Gives what it is asked for."""

    rules = UrlRules()

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.flasher.FlasherClient"

    def url_rules(self) -> UrlRules:
        return self.rules

    @export
    async def dump(self, handle: Any, target: str | None = None) -> None:
        async with self.resource(handle) as stream:
            for _ in range(int(target or 3)):
                await stream.send(b"x" * MIB)
            if target == "2":
                raise OSError("the card is gone")


@pytest.fixture
def store() -> Generator[Store]:
    with Store() as store:
        thread = threading.Thread(target=store.serve_forever)
        thread.start()
        yield store
        store.shutdown()
        thread.join()


@pytest.fixture
def client(store: Store, monkeypatch: pytest.MonkeyPatch) -> Generator[DriverClient]:
    monkeypatch.setattr(Dumper, "rules", UrlRules(allowed=(store.url,), max_bytes=8 * MIB))
    with serve(Dumper()) as client:
        yield client


def put(url: str) -> dict[str, Any]:
    return {"kind": "presigned_request", "url": url, "method": "PUT", "headers": {"X-Key": "secret"}}


def test_a_file_is_put_whole_with_its_headers(client: DriverClient, store: Store) -> None:
    client.call("dump", put(f"{store.url}/image?signature=1"))
    assert store.files == {"/image?signature=1": ("secret", 3 * MIB, hashlib.sha256(b"x" * 3 * MIB).hexdigest())}


def test_a_flasher_dumps_to_a_url(client: DriverClient, store: Store) -> None:
    assert isinstance(client, FlasherClient)
    client.dump(f"{store.url}/image")
    assert store.files["/image"][1] == 3 * MIB


def test_a_file_that_breaks_off_is_not_sent(client: DriverClient, store: Store) -> None:
    with pytest.raises(DriverError, match="the card is gone"):
        client.call("dump", put(f"{store.url}/image"), "2")
    assert store.files == {}


@pytest.mark.parametrize(
    ("path", "size", "text"),
    [
        ("refused", "1", "/refused: the server says 403 Forbidden to the upload"),
        ("moved", "1", "/moved: the server says 307 Temporary Redirect to the upload"),
        ("breaks", "8", "/breaks: the upload broke: "),
        ("large", "9", f"/large: the file has more than the {8 * MIB} bytes that are allowed"),
    ],
)
def test_what_goes_wrong_is_told(client: DriverClient, store: Store, path: str, size: str, text: str) -> None:
    with pytest.raises(DriverError, match=text) as caught:
        client.call("dump", put(f"{store.url}/{path}"), size)
    assert "secret" not in str(caught.value)


def test_only_a_url_that_is_allowed_is_sent_to(store: Store) -> None:
    with serve(Dumper()) as client:
        with pytest.raises(NotAllowed, match="only https is used"):
            client.call("dump", put(f"{store.url}/image"))
        with pytest.raises(NotAllowed, match="is not a public address"):
            client.call("dump", put("https://127.0.0.1:1/image"))
        with pytest.raises(DriverInvalidArgument, match="begins with http"):
            client.call("dump", put("ftp://host/image"))
    assert store.files == {}
