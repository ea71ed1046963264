"""How much a byte stream has moved, and how much it will."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from anyio import TypedAttributeSet, typed_attribute
from anyio.abc import AnyByteStream, ObjectStream

INTERVAL = 2.0
"""Seconds between two lines of the log."""

logger = logging.getLogger(__name__)


class ProgressAttribute(TypedAttributeSet):
    """Typed attributes of a stream whose length is known."""

    total: float = typed_attribute()
    """Bytes that it has."""


@dataclass(eq=False, kw_only=True)
class ProgressStream(ObjectStream[bytes]):
    """A stream that counts its bytes, and with `logging` tells of them every 2 seconds."""

    stream: AnyByteStream
    logging: bool = False
    moved: int = field(init=False, default=0)
    """Bytes that have passed, both ways."""

    _told: float = field(init=False, default_factory=monotonic)

    async def receive(self) -> bytes:
        data = await self.stream.receive()
        self._count(len(data))
        return data

    async def send(self, item: bytes) -> None:
        await self.stream.send(item)
        self._count(len(item))

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        stream: Any = self.stream  # anyio types the attributes of a byte stream as unknown
        return stream.extra_attributes

    def _count(self, size: int) -> None:
        self.moved += size
        if self.logging and monotonic() - self._told >= INTERVAL:
            self._told = monotonic()
            total = self.stream.extra(ProgressAttribute.total, 0)
            of_total = f" of {total / (1 << 20):.1f}" if total else ""
            logger.info("%.1f%s MiB", self.moved / (1 << 20), of_total)
