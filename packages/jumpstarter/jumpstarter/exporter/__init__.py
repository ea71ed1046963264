"""The exporter's end of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exporter import Exporter
    from .session import Session

__all__ = ["Exporter", "Session"]


def __getattr__(name: str) -> object:
    from ..common.lazy import load

    return load(__name__, {"Exporter": "exporter", "Session": "session"}, name)
