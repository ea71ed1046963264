"""One HTTP request over a byte stream."""

import http.client
import io
from typing import TYPE_CHECKING

from anyio import EndOfStream

if TYPE_CHECKING:
    from jumpstarter.streams.blocking import BlockingStream


class _Received:
    """What came back, in the shape in which http.client takes it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def fetch(stream: "BlockingStream", path: str) -> str:
    """Return the body of the page at `path`; raises OSError for any other answer than 200."""
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"{path!r} is not the path of a page, such as /status.json")
    stream.send(f"GET {path} HTTP/1.0\r\nHost: board\r\n\r\n".encode())
    data = bytearray()
    while True:
        try:
            data += stream.receive()
        except EndOfStream:
            break
    response = http.client.HTTPResponse(_Received(bytes(data)))  # pyright: ignore[reportArgumentType] needs no more
    response.begin()
    body = response.read().decode(errors="replace")
    if response.status != http.HTTPStatus.OK:
        raise OSError(f"{path}: {response.status} {response.reason}: {body.strip()}")
    return body
