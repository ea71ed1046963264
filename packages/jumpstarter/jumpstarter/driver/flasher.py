"""What drivers that write images offer, where they need no more than the core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any


class FlasherInterface(ABC):
    """Writes an image to a device, and reads one from it."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.flasher.FlasherClient"

    @abstractmethod
    def flash(self, source: Any, target: str | None = None) -> Awaitable[None] | None:
        """Write what a resource handle stands for, to a partition where `target` names one."""

    @abstractmethod
    def dump(self, target: Any, partition: str | None = None) -> Awaitable[None] | None:
        """Read the device, or a partition of it, into what a resource handle stands for."""
