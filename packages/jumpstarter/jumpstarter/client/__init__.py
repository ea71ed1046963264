"""The client's end of a session: the exporter's drivers as Python objects.

Names are imported when they are first used: the package itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import DriverClient, StubDriverClient
    from .client import client_from_channel, client_from_path
    from .directlease import DirectLease
    from .flasher import FlasherClient, FlasherClientInterface
    from .lease import Lease

_HOMES = {
    "DriverClient": "base",
    "StubDriverClient": "base",
    "DirectLease": "directlease",
    "FlasherClient": "flasher",
    "FlasherClientInterface": "flasher",
    "Lease": "lease",
    "client_from_channel": "client",
    "client_from_path": "client",
}

__all__ = [
    "DirectLease",
    "DriverClient",
    "FlasherClient",
    "FlasherClientInterface",
    "Lease",
    "StubDriverClient",
    "client_from_channel",
    "client_from_path",
]


def __getattr__(name: str) -> object:
    from ..common.lazy import load

    return load(__name__, _HOMES, name)
