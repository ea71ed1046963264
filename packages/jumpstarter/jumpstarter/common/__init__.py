"""Words that every layer shares: errors, values on the wire, labels, enums, temporary sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..streams.channels import AsyncChannel, ControllerStub, ExporterStub, RouterStub
    from .enums import HOOK_WARNING_PREFIX, ExporterStatus, LogSource
    from .fls import download_fls, get_fls_binary, get_fls_github_url
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
    "download_fls": "fls",
    "get_fls_binary": "fls",
    "get_fls_github_url": "fls",
    "AsyncChannel": "jumpstarter.streams.channels",
    "ControllerStub": "jumpstarter.streams.channels",
    "ExporterStub": "jumpstarter.streams.channels",
    "RouterStub": "jumpstarter.streams.channels",
}

__all__ = [
    "HOOK_WARNING_PREFIX",
    "AsyncChannel",
    "ControllerStub",
    "ExporterStatus",
    "ExporterStub",
    "LogSource",
    "Metadata",
    "RouterStub",
    "TemporarySocket",
    "TemporaryTcpListener",
    "TemporaryUnixListener",
    "download_fls",
    "get_fls_binary",
    "get_fls_github_url",
]


def __getattr__(name: str) -> object:
    from .lazy import load

    return load(__name__, _HOMES, name)
