"""What every driver of a network service offers: one byte stream per connection."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any


class NetworkInterface(ABC):
    """A service that clients connect to through the exporter."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_network.client.NetworkClient"

    @abstractmethod
    def connect(self) -> AbstractAsyncContextManager[Any]:
        """A connection of its own, as a stream of bytes."""
