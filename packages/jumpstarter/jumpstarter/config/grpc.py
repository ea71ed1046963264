"""Public name of what tells a controller who calls; nothing in this package imports it from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..streams.channels import call_credentials

__all__ = ["call_credentials"]


def __getattr__(name: str) -> object:
    from ..common.lazy import load

    return load(__name__, {"call_credentials": "jumpstarter.streams.channels"}, name)
