"""The exporter's end of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Session"]


def __getattr__(name: str) -> object:
    from ..common.lazy import load

    return load(__name__, {"Session": "session"}, name)
