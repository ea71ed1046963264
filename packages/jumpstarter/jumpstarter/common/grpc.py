"""Public names of what makes channels to controllers and routers; nothing in this package imports them from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..client.errors import translate_grpc_exceptions
    from ..streams.channels import aio_secure_channel, ssl_channel_credentials

__all__ = ["aio_secure_channel", "ssl_channel_credentials", "translate_grpc_exceptions"]

_HOMES = {
    "aio_secure_channel": "jumpstarter.streams.channels",
    "ssl_channel_credentials": "jumpstarter.streams.channels",
    "translate_grpc_exceptions": "jumpstarter.client.errors",
}


def __getattr__(name: str) -> object:
    from .lazy import load

    return load(__name__, _HOMES, name)
