"""Public names of helpers that live elsewhere; nothing in this package imports them from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..local import serve, serve_async
    from ..utils.env import ExporterMetadata, env, env_with_metadata

__all__ = ["ExporterMetadata", "env", "env_with_metadata", "serve", "serve_async"]

_HOMES = {
    "serve": "local",
    "serve_async": "local",
    "env": "utils.env",
    "env_with_metadata": "utils.env",
    "ExporterMetadata": "utils.env",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"jumpstarter.{_HOMES[name]}"), name)
