"""Byte streams for code without an event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyio.abc import AnyByteStream

    from .portal import Portal


@dataclass(kw_only=True, eq=False)
class BlockingStream:
    """A byte stream whose methods wait in the caller's thread."""

    stream: AnyByteStream
    portal: Portal

    def send(self, data: bytes) -> None:
        """Send bytes; waits while the peer does not keep up. Raises anyio.BrokenResourceError when cut off."""
        self.portal.call(self.stream.send, data)

    def receive(self) -> bytes:
        """The next bytes. Raises anyio.EndOfStream at a clean end and anyio.BrokenResourceError when cut off."""
        return self.portal.call(self.stream.receive)

    def send_eof(self) -> None:
        """Say that no more bytes follow; the other direction stays open."""
        self.portal.call(self.stream.send_eof)
