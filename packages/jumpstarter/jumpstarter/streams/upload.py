"""Files that are sent to a web server by PUT, often by an exporter on behalf of a client.

Servers of objects want to know how large a file is before it comes, so it is kept on disk until it is whole. A file
that breaks off is not sent at all.
"""

from __future__ import annotations

import http.client
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import IO

from anyio.abc import ObjectStream

from .common import CHUNK
from .http import UrlRules, check_status, checked_url, connected, path_of, shown, shut_down, text_of
from .threads import in_thread


class UploadStream(ObjectStream[bytes]):
    """The file that will be sent, to be written."""

    def __init__(self, file: IO[bytes], url: str, most: int | None) -> None:
        self._file, self._url, self._most = file, url, most
        self.sent = 0
        """Bytes that were written."""

    async def send(self, item: bytes) -> None:
        """Write bytes. Raises OSError where the file gets larger than the rules allow, or the disk is full."""
        self.sent += len(item)
        if self._most is not None and self.sent > self._most:
            raise OSError(f"{self._url}: the file has more than the {self._most} bytes that are allowed")
        await in_thread(self._file.write, item)

    async def send_eof(self) -> None:
        """The file is sent when its context is left."""

    async def receive(self) -> bytes:
        raise NotImplementedError("a URL that is sent to can only be written")

    async def aclose(self) -> None:
        """The file is sent when its context is left."""


@asynccontextmanager
async def put_url(request: tuple[str, dict[str, str]], rules: UrlRules) -> AsyncGenerator[UploadStream]:
    """Write the file that is sent to a URL, with these headers, when the context is left without an error.

    Raises NotAllowedError for a URL that the rules do not allow, ValueError for one that is none, OSError for an answer
    other than success, a redirect included, or a server that cannot be reached.
    """
    url, headers = request
    parts = checked_url(url)
    connection = await in_thread(connected, parts, rules)
    try:
        with tempfile.TemporaryFile() as file:
            stream = UploadStream(file, shown(parts), rules.max_bytes)
            yield stream
            path = path_of(parts)
            headers = {**headers, "Content-Length": str(stream.sent)}
            await in_thread(
                _put, connection, path, headers, file, shown(parts), abort=lambda: shut_down(connection.sock)
            )
    finally:
        connection.close()


def _put(connection: http.client.HTTPConnection, path: str, headers: dict[str, str], file: IO[bytes], url: str) -> None:
    file.seek(0)
    connection.blocksize = CHUNK // 4
    try:
        connection.request("PUT", path, body=file, headers=headers)
        answer = connection.getresponse()
        answer.read(CHUNK)
    except (http.client.HTTPException, OSError) as e:
        raise OSError(f"{url}: the upload broke: {text_of(e)}") from e
    check_status(answer, f"{url}: the server says {answer.status} {answer.reason} to the upload")
