"""Byte streams that a client offers to a driver call, by handle.

The client opens a stream to the instance that will use it, learns the handle from the answer, and passes it as an
argument of a call. A handle is good for one use, by that instance.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from anyio import fail_after

if TYPE_CHECKING:
    from anyio.abc import ObjectStream

    from .base import Driver


@asynccontextmanager
async def open_resource(driver: Driver, handle: object, timeout: float) -> AsyncGenerator[ObjectStream[bytes]]:  # noqa: ASYNC109
    """The stream behind a handle, closed and forgotten afterwards; see `Driver.resource`."""
    stream = driver.resources.pop(client_stream_uuid(handle), None)
    if stream is None:
        raise ValueError("resource: the handle is unknown here or was used before; send the file again")
    with fail_after(timeout):
        async with stream:
            yield stream


def client_stream_uuid(handle: object) -> UUID:
    """The identity in the handle of a client's stream; ValueError for anything else."""
    if not isinstance(handle, Mapping):
        raise ValueError(f"resource: a handle is a mapping, not {type(handle).__name__}")
    fields = cast("Mapping[str, Any]", handle)
    if fields.get("kind") != "client_stream":
        raise ValueError(f"resource: a handle of kind {fields.get('kind')!r} is not supported; send the file itself")
    if encoding := fields.get("x_jmp_content_encoding"):
        raise ValueError(f"resource: content encoding {encoding!r} is not supported; send the plain bytes")
    try:
        return UUID(str(fields.get("uuid")))
    except ValueError:
        raise ValueError(f"resource: {fields.get('uuid')!r} is not the identity of a stream") from None
