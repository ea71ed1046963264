"""Files that are read from a web server, often by an exporter on behalf of a client, which must not lead it astray.

A URL is read by https from public addresses, or where the exporter's own configuration allows it. That is decided for
the address that is connected to, again at each redirect. A file comes whole, as its length says, or with an error.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import SplitResult, urljoin, urlsplit

from anyio import EndOfStream
from anyio.abc import ObjectStream

from ..common.exceptions import NotAllowedError
from .common import CHUNK
from .threads import in_thread

STALL = 60.0
"""Seconds without a byte after which a server counts as gone."""

MOST_REDIRECTS = 10

_REDIRECTS = (301, 302, 303, 307, 308)
_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization", "x-amz-", "x-ms-", "x-goog-")


class AnswerError(OSError):
    """A server answered with another status than success."""

    def __init__(self, message: str, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, kw_only=True)
class UrlRules:
    """Which URLs may be read."""

    anywhere: bool = False
    """Whether all may: the user reads with the rights that he has himself."""

    allowed: tuple[str, ...] = ()
    """Beginnings of URLs that may be read whatever their scheme and address: `http://files.lab:8000/images/`."""

    max_bytes: int | None = None
    """Size from which a file is refused."""

    stall: float = STALL

    def lists(self, url: SplitResult) -> bool:
        """Whether a URL is one of those that are allowed by name."""
        return self.anywhere or any(_is_below(url, urlsplit(allowed)) for allowed in self.allowed)


def _is_below(url: SplitResult, allowed: SplitResult) -> bool:
    if (url.scheme, url.hostname, _port(url)) != (allowed.scheme, allowed.hostname, _port(allowed)):
        return False
    path = url.path or "/"
    if "/../" in f"{path}/" or "%2e" in path.lower() or "\\" in path:
        return False
    prefix = allowed.path or "/"
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _port(url: SplitResult) -> int:
    return url.port or {"https": 443}.get(url.scheme, 80)


class UrlStream(ObjectStream[bytes]):
    """The body of an answer, to be read."""

    def __init__(
        self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, url: str, most: int | None
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._url = url
        self._most = most
        self.size = answer.length
        """Bytes of the body, where the server says."""
        self._read = 0

    async def receive(self) -> bytes:
        """The next bytes. Raises OSError where the server stops before the end."""
        data = await in_thread(self._next, abort=self.abort)
        if not data:
            raise EndOfStream
        return data

    def _next(self) -> bytes:
        try:
            data = self._answer.read(CHUNK // 4)
        except TimeoutError as e:
            raise TimeoutError(f"{self._url}: the server sent nothing for a while, after {self._read} bytes") from e
        except (http.client.HTTPException, OSError) as e:
            raise OSError(f"{self._url}: the download broke after {self._read} bytes: {text_of(e)}") from e
        self._read += len(data)
        if self._most is not None and self._read > self._most:
            raise OSError(f"{self._url}: the file has more than the {self._most} bytes that are allowed")
        if not data and self.size is not None and self._read != self.size:
            raise OSError(f"{self._url}: the download ended after {self._read} of {self.size} bytes")
        return data

    def abort(self) -> None:
        """Make a read that waits end at once."""
        shut_down(self._answer)

    async def send(self, item: bytes) -> None:
        raise NotImplementedError("a URL can be read only")

    async def send_eof(self) -> None:
        raise NotImplementedError("a URL can be read only")

    async def aclose(self) -> None:
        self.abort()
        await in_thread(self._close)

    def _close(self) -> None:
        _close(self._connection, self._answer)


@asynccontextmanager
async def open_url(request: tuple[str, dict[str, str]], rules: UrlRules) -> AsyncGenerator[UrlStream]:
    """Read a URL with these headers.

    Raises NotAllowedError for one that the rules do not allow, ValueError for one that is none, OSError for an answer
    that is no file, or a server that cannot be reached.
    """
    stream = await in_thread(_open, *request, rules)
    try:
        yield stream
    finally:
        await stream.aclose()


def _open(url: str, headers: dict[str, str], rules: UrlRules) -> UrlStream:
    for _ in range(MOST_REDIRECTS + 1):
        parts = checked_url(url)
        connection, answer = connected(parts, rules), None
        try:
            answer = _answer(connection, parts, headers)
            if answer.status not in _REDIRECTS:
                return _body(connection, answer, shown(parts), rules)
            location = answer.headers.get("Location")
            if not location:
                raise OSError(f"{shown(parts)}: answers {answer.status} with a missing Location header")
            target = urljoin(url, location)
            if _origin(checked_url(target)) != _origin(parts):
                headers = {k: v for k, v in headers.items() if not k.lower().startswith(_SECRET_HEADERS)}
        except BaseException:
            _close(connection, answer)
            raise
        _close(connection, answer)
        url = target
    raise OSError(f"{shown(urlsplit(url))}: Too many redirects, more than {MOST_REDIRECTS}")


def _close(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse | None) -> None:
    if answer is not None:
        answer.close()
    connection.close()


def checked_url(url: str) -> SplitResult:
    """The parts of a URL; ValueError for one that is not of a file on a web server."""
    parts = urlsplit("")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and _port(parts) and url.isascii()
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ValueError("the URL of a file begins with http:// or https://, and a host")
    return parts


def connected(url: SplitResult, rules: UrlRules) -> http.client.HTTPConnection:
    """A connection to an address that was looked at, so that the name cannot mean another one a moment later."""
    host, listed = url.hostname or "", rules.lists(url)
    if url.scheme != "https" and not listed:
        raise NotAllowedError(f"{shown(url)}: only https is used", "use https, or add it to allowed_urls")
    try:
        found = socket.getaddrinfo(host, _port(url), type=socket.SOCK_STREAM)
    except OSError as e:
        raise OSError(f"{shown(url)}: the host {host} is not found: {text_of(e)}") from e
    address = str(found[0][4][0])
    if not listed and not ipaddress.ip_address(address.partition("%")[0]).is_global:
        raise NotAllowedError(
            f"{shown(url)}: {address} is not a public address",
            "add it to allowed_urls in the configuration",
        )
    if url.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, _port(url), timeout=rules.stall, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, _port(url), timeout=rules.stall)
    # what http.client connects by, with the name's address put in; TLS is still for the name
    connection._create_connection = partial(_create_connection, address)  # pyright: ignore[reportAttributeAccessIssue]
    return connection


def _create_connection(address: str, target: tuple[str, int], *args: object) -> socket.socket:
    timeout = args[0] if args and isinstance(args[0], int | float) else STALL
    return socket.create_connection((address, target[1]), timeout)


def _answer(
    connection: http.client.HTTPConnection, url: SplitResult, headers: dict[str, str]
) -> http.client.HTTPResponse:
    try:
        connection.request("GET", path_of(url), headers={"Accept-Encoding": "identity", **headers})
        return connection.getresponse()
    except (http.client.HTTPException, OSError) as e:
        raise OSError(f"{shown(url)}: {text_of(e)}") from e


def _body(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, url: str, rules: UrlRules
) -> UrlStream:
    check_status(answer, f"{url}: the server says {answer.status} {answer.reason}")
    if answer.length is None and not answer.chunked:
        raise OSError(f"{url}: the server does not say how long the file is, so nobody would notice a part of it")
    if rules.max_bytes is not None and answer.length is not None and answer.length > rules.max_bytes:
        raise OSError(f"{url}: the file has {answer.length} bytes, more than the {rules.max_bytes} that are allowed")
    return UrlStream(connection, answer, url, rules.max_bytes)


def path_of(url: SplitResult) -> str:
    """What a server is asked for: the path, with what follows it."""
    return f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"


def check_status(answer: http.client.HTTPResponse, said: str) -> None:
    """Raise AnswerError with that text for an answer other than success."""
    if not 200 <= answer.status < 300:
        raise AnswerError(said, answer.status, dict(answer.headers.items()))


def shut_down(what: socket.socket | http.client.HTTPResponse | None) -> None:
    """Make whoever waits for this connection go on at once."""
    if what is None:
        return
    with suppress(OSError, ValueError, AttributeError), socket.socket(fileno=os.dup(what.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)  # errors: it is closed, or at its end


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, _port(url)


def shown(url: SplitResult) -> str:
    """A URL for a message, without what may be secret."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"{url.scheme}://{host}{f':{url.port}' if url.port else ''}{url.path}"


def text_of(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended too early"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
