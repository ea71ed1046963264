"""What a client asks for when it opens a byte stream of a driver, as it travels in the call's metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, Json

if TYPE_CHECKING:
    from ..streams.tunnel import connect_router_stream

__all__ = [
    "DriverStreamRequest",
    "ResourceStreamRequest",
    "StreamRequest",
    "StreamRequestMetadata",
    "connect_router_stream",
]


class ResourceStreamRequest(BaseModel):
    """A stream for a file that the client offers."""

    kind: Literal["resource"] = "resource"
    uuid: UUID
    x_jmp_content_encoding: str | None = None
    """How the client's bytes are encoded."""


class DriverStreamRequest(BaseModel):
    """A stream that a driver's method exports."""

    kind: Literal["driver"] = "driver"
    uuid: UUID
    method: str


StreamRequest = Annotated[ResourceStreamRequest | DriverStreamRequest, Field(discriminator="kind")]


class StreamRequestMetadata(BaseModel):
    """The metadata of such a call."""

    request: Json[StreamRequest]


def __getattr__(name: str) -> object:
    from .lazy import load

    return load(__name__, {"connect_router_stream": "jumpstarter.streams.tunnel"}, name)
