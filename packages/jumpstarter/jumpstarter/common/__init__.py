"""Words that every layer shares: errors, values on the wire, labels, enums, temporary sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .enums import HOOK_WARNING_PREFIX, ExporterStatus, LogSource
    from .metadata import Metadata
    from .tempfile import TemporarySocket, TemporaryTcpListener, TemporaryUnixListener

_HOMES = {
    "ExporterStatus": "enums",
    "LogSource": "enums",
    "HOOK_WARNING_PREFIX": "enums",
    "Metadata": "metadata",
    "TemporarySocket": "tempfile",
    "TemporaryTcpListener": "tempfile",
    "TemporaryUnixListener": "tempfile",
}

__all__ = [
    "HOOK_WARNING_PREFIX",
    "ExporterStatus",
    "LogSource",
    "Metadata",
    "TemporarySocket",
    "TemporaryTcpListener",
    "TemporaryUnixListener",
]


def __getattr__(name: str) -> object:
    from .lazy import load

    return load(__name__, _HOMES, name)
