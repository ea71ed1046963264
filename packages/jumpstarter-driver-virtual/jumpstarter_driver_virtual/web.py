"""The status page of the simulated board: HTTP on a unix socket, answered only while the board is booted.

Enough of HTTP/1.1 (RFC 9112) for GET and HEAD, one request per connection.
"""

import html
import json
import socket
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from .loop import Loop

REQUEST_LIMIT = 16 * 1024
CONNECTIONS = 128

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Simulated board</title>
<h1>Simulated board</h1>
<p>This page comes from jumpstarter-driver-virtual. There is no hardware behind it.</p>
<table>
{rows}
</table>
<p>The same as <a href="/status.json">JSON</a>.</p>
</html>
"""


class WebServer:
    """Serves a status on a unix socket; refuses connections unless it is started."""

    def __init__(self, loop: Loop, path: Path, status: Callable[[], dict[str, Any]]) -> None:
        self._loop = loop
        self._path = path
        self._status = status
        self._connections: deque[_Connection] = deque()
        self._listener: socket.socket | None = None
        self._bind()

    @property
    def running(self) -> bool:
        return self._listening

    def start(self) -> None:
        """Answer from now on."""
        assert self._listener is not None
        if not self._listening:
            self._listener.listen(CONNECTIONS)
            self._loop.watch(self._listener, self._accept)
            self._listening = True

    def stop(self) -> None:
        """Drop all connections and refuse new ones."""
        if self._listening:
            self.close()
            self._bind()

    def close(self) -> None:
        """Drop all connections and remove the socket."""
        for connection in list(self._connections):
            connection.close()
        if self._listener is not None:
            if self._listening:
                self._loop.unwatch(self._listener)
            self._listener.close()
            self._path.unlink(missing_ok=True)
            self._listener = None
        self._listening = False

    def _bind(self) -> None:
        """Take the address; connecting to it is refused, as on any host without the service."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(str(self._path))
        self._listening = False

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            peer, _ = self._listener.accept()
        except BlockingIOError:
            return
        if len(self._connections) == CONNECTIONS:
            self._connections[0].close()  # the oldest has had its time
        self._connections.append(_Connection(self._loop, peer, self._answer, self._connections.remove))

    def _answer(self, request: bytes) -> bytes:
        """Return the whole response to the head of a request."""
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST, "text/plain", "not an HTTP/1 request\n")
        method, target, _ = words
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n")
        response = self._page(target.partition(b"?")[0])
        return response if method == b"GET" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def _page(self, path: bytes) -> bytes:
        match path:
            case b"/" | b"/index.html":
                rows = "\n".join(f"<tr><th>{name}<td>{html.escape(text)}" for name, text in _rows(self._status()))
                return _response(HTTPStatus.OK, "text/html; charset=utf-8", PAGE.format(rows=rows))
            case b"/status.json":
                return _response(HTTPStatus.OK, "application/json", json.dumps(self._status(), indent=2) + "\n")
            case _:
                return _response(HTTPStatus.NOT_FOUND, "text/plain", "there is / and /status.json\n")


class _Connection:
    """One client: its request is read, answered, and the rest of what it sends thrown away."""

    def __init__(
        self,
        loop: Loop,
        peer: socket.socket,
        answer: Callable[[bytes], bytes],
        closed: "Callable[[_Connection], None]",
    ) -> None:
        self._loop, self._peer, self._answer, self._closed = loop, peer, answer, closed
        self._request = b""
        self._answered = False
        peer.setblocking(False)
        loop.watch(peer, self._read)

    def _read(self) -> None:
        try:
            data = self._peer.recv(REQUEST_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif not self._answered:
            self._request += data
            head, end, _ = self._request.partition(b"\r\n\r\n")
            if end or len(self._request) > REQUEST_LIMIT:
                self._send(self._answer(head))

    def _send(self, response: bytes) -> None:
        """Answer at once: the socket's buffer is far larger than any page."""
        self._answered = True
        try:
            self._peer.send(response)
            self._peer.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def close(self) -> None:
        self._loop.unwatch(self._peer)
        self._peer.close()
        self._closed(self)


def _rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Flatten the status into pairs of text."""
    rows: list[tuple[str, str]] = []
    for name, value in status.items():
        if isinstance(value, dict):
            rows += [(f"{name} {key}", text) for key, text in _rows(value)]  # pyright: ignore[reportUnknownArgumentType]
        else:
            rows.append((name, str(value)))
    return rows


def _response(status: HTTPStatus, kind: str, body: str) -> bytes:
    content = body.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: virtual-board\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(content)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + content
