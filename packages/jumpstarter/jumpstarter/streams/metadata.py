"""Metadata that a byte stream carries beside its bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anyio import TypedAttributeSet, typed_attribute
from anyio.abc import AnyByteStream, ObjectStream

CONTENT_ENCODING = "x_jmp_content_encoding"
"""Key in a request for a resource, and in its handle: how the client's bytes are encoded."""

ENCODINGS = ("gzip", "xz", "bz2", "zstd")
"""Encodings that an exporter takes; those of `encoding.Compression`."""

CONTENT_LENGTH = "x_jmp_content_length"
"""Key in a request for a resource: how many bytes the client will send, where it knows."""

ACCEPT_ENCODING = "x_jmp_accept_encoding"
"""Key in the answer: the encoding, where the exporter takes it; empty where it does not."""


class MetadataStreamAttributes(TypedAttributeSet):
    """Typed attributes of a stream with metadata."""

    metadata: dict[str, str] = typed_attribute()


_METADATA: Any = MetadataStreamAttributes.metadata  # a key, whatever type it declares


@dataclass(eq=False)
class MetadataStream(ObjectStream[bytes]):
    """A stream with metadata, which reach the client before the first byte."""

    stream: AnyByteStream
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    async def send(self, item: bytes) -> None:
        await self.stream.send(item)

    async def receive(self) -> bytes:
        return await self.stream.receive()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        stream: Any = self.stream  # anyio types the attributes of a byte stream as unknown
        extra: Mapping[Any, Callable[[], Any]] = stream.extra_attributes
        return {**extra, _METADATA: lambda: self.metadata}
