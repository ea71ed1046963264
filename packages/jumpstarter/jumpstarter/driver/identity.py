"""Names of physical devices, the same whatever way leads to one."""

from __future__ import annotations

import os
import re
from inspect import getattr_static
from typing import TYPE_CHECKING

from .table import exported_methods

if TYPE_CHECKING:
    from .base import Driver

_URL = re.compile(r"(?:tcp|socket|rfc2217|telnet):/{0,2}(?P<address>[^/?#]+)", re.IGNORECASE)
_USB = re.compile(r"usb:", re.IGNORECASE)


def normal_identity(text: str) -> str:
    """The form of an identity in which two are compared.

    A path, with or without `serial:` or `path:` before it, is that of the file behind all links; ports of other hosts
    are `tcp:host:port`, whatever is spoken there; of USB devices, case does not count.
    """
    text = text.strip()
    path = text.removeprefix("serial:").removeprefix("path:").removeprefix("file://")
    if path.startswith("/"):
        return os.path.realpath(path)
    if match := _URL.match(text):
        return f"tcp:{match['address'].rpartition('@')[2].lower()}"
    return text.lower() if _USB.match(text) else text


def has_identity(driver: Driver) -> bool:
    """Whether a driver's class names physical devices; an exported method that is called `identity` does not."""
    from .base import Driver

    cls = type(driver)
    return getattr_static(cls, "identity") is not Driver.identity and "identity" not in exported_methods(cls)


def identity_of(driver: Driver) -> str | None:
    """The normal form of a driver's identity, if it has one."""
    found = driver.identity() if has_identity(driver) else None
    return normal_identity(str(found)) if found else None
