"""Handles of the files that clients offer to drivers, as they travel in the arguments of a call."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class ClientStreamResource(BaseModel):
    """A byte stream that the client holds open."""

    kind: Literal["client_stream"] = "client_stream"
    uuid: UUID
    x_jmp_content_encoding: Literal["gzip", "xz", "bz2", "zstd"] | None = None
    """How the client's bytes are encoded."""


class PresignedRequestResource(BaseModel):
    """A request that the exporter makes itself, to read or to write the file."""

    kind: Literal["presigned_request"] = "presigned_request"
    headers: dict[str, str]
    url: str
    method: Literal["GET", "PUT"]


Resource = Annotated[ClientStreamResource | PresignedRequestResource, Field(discriminator="kind")]


class ResourceMetadata(BaseModel):
    """What an exporter answers when a client opens the stream of a file."""

    resource: Resource
    x_jmp_accept_encoding: str | None = None
    """The encoding that the exporter undoes; empty where it does not."""
