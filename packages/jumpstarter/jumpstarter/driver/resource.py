"""Byte streams that a client offers to a driver call, by handle.

The client opens a stream to the instance that will use it, learns the handle from the answer, and passes it as an
argument of a call. A handle is good for one use, by that instance. A handle of the other kind names a URL.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from anyio import fail_after

from ..streams.metadata import CONTENT_ENCODING

if TYPE_CHECKING:
    from anyio.abc import ObjectStream

    from .base import Driver


@asynccontextmanager
async def open_resource(driver: Driver, handle: object, timeout: float) -> AsyncGenerator[ObjectStream[bytes]]:  # noqa: ASYNC109
    """The stream behind a handle, closed and forgotten afterwards; see `Driver.resource`."""
    fields = _fields(handle)
    with fail_after(timeout):
        if fields["kind"] == "presigned_request":
            async with _at_url(driver, fields) as stream:
                yield stream
            return
        async with _client_stream(driver, fields) as stream:
            yield stream


def _at_url(driver: Driver, fields: Mapping[str, Any]) -> AbstractAsyncContextManager[ObjectStream[bytes]]:
    """The file at a URL: to be read by GET, or to be written by PUT."""
    request, rules = _request(fields), driver.url_rules()
    if fields.get("method") == "PUT":
        from ..streams.upload import put_url

        return put_url(request, rules)
    from ..streams.http import open_url

    return open_url(request, rules)


@asynccontextmanager
async def _client_stream(driver: Driver, fields: Mapping[str, Any]) -> AsyncGenerator[ObjectStream[bytes]]:
    uuid, name = _uuid(fields), fields.get(CONTENT_ENCODING)
    if name:
        from ..streams.encoding import encoding_named

        encoding_named(str(name))
    stream = driver.resources.pop(uuid, None)
    if stream is None:
        raise ValueError("resource: the handle is unknown here or was used before; send the file again")
    async with stream:
        if not name:
            yield stream
            return
        from ..streams.encoding import DecodedStream, encoding_named

        decoded = DecodedStream(stream, encoding_named(str(name)))
        yield decoded
        await decoded.aclose()


def _fields(handle: object) -> Mapping[str, Any]:
    if not isinstance(handle, Mapping):
        raise ValueError(f"resource: a handle is a mapping, not {type(handle).__name__}")
    fields = cast("Mapping[str, Any]", handle)
    if fields.get("kind") not in ("client_stream", "presigned_request"):
        raise ValueError(f"resource: a handle of kind {fields.get('kind')!r} is not known; send the file itself")
    return fields


def _uuid(fields: Mapping[str, Any]) -> UUID:
    try:
        return UUID(str(fields.get("uuid")))
    except ValueError:
        raise ValueError(f"resource: {fields.get('uuid')!r} is not the identity of a stream") from None


def _request(fields: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """URL and headers of a presigned request."""
    method, url, headers = fields.get("method"), fields.get("url"), cast("object", fields.get("headers") or {})
    if method not in ("GET", "PUT"):
        raise ValueError(f"resource: a request with the method {method!r} is not supported; only GET and PUT are")
    if not isinstance(url, str) or not isinstance(headers, Mapping):
        raise ValueError("resource: a presigned request has a url, and headers")
    return url, {str(name): str(value) for name, value in cast("Mapping[object, object]", headers).items()}
