"""What every storage driver offers.

A method that takes a handle opens it by `Driver.resource`. Both kinds of driver are fine: plain methods and async ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any


class StorageMuxInterface(ABC):
    """A medium that either the host or the device under test has.

    A driver that also exports `state` tells who has it.
    """

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_storage.client.StorageMuxClient"

    @abstractmethod
    def host(self) -> Awaitable[None] | None:
        """Connect the medium to the host."""

    @abstractmethod
    def dut(self) -> Awaitable[None] | None:
        """Connect the medium to the device under test."""

    @abstractmethod
    def off(self) -> Awaitable[None] | None:
        """Connect the medium to nothing."""

    @abstractmethod
    def write(self, src: Any) -> Any:
        """Write the image behind a handle to the medium."""

    @abstractmethod
    def read(self, dst: Any) -> Any:
        """Send the content of the medium to a handle."""


class StorageMuxFlasherInterface(StorageMuxInterface):
    """A mux whose clients flash: to the host, write, and to the device where that is wanted."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_storage.client.StorageMuxFlasherClient"


class FlasherInterface(ABC):
    """A device with one or more places for images, such as partitions; it writes them in its own way."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_storage.client.FlasherClient"

    @abstractmethod
    def flash(self, source: Any, target: str | None = None) -> Any:
        """Write the image behind a handle to the place of that name."""

    @abstractmethod
    def dump(self, target: Any, partition: str | None = None) -> Any:
        """Send the content of the place of that name to a handle."""
