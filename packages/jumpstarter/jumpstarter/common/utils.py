"""Public names of helpers that live elsewhere; nothing in this package imports them from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..cli.launch import launch_shell, lease_ending_handler
    from ..local import serve, serve_async
    from ..utils.env import ExporterMetadata, env, env_with_metadata

__all__ = [
    "ExporterMetadata",
    "env",
    "env_with_metadata",
    "launch_shell",
    "lease_ending_handler",
    "serve",
    "serve_async",
]

_HOMES = {
    "serve": "jumpstarter.local",
    "serve_async": "jumpstarter.local",
    "env": "jumpstarter.utils.env",
    "env_with_metadata": "jumpstarter.utils.env",
    "ExporterMetadata": "jumpstarter.utils.env",
    "launch_shell": "jumpstarter.cli.launch",
    "lease_ending_handler": "jumpstarter.cli.launch",
}


def __getattr__(name: str) -> object:
    from .lazy import load

    return load(__name__, _HOMES, name)
