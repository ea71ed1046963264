"""Public packages whose names are imported when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module


def load(package: str, homes: Mapping[str, str], name: str) -> object:
    """Import `name` of `package` from the home that `homes` gives for it, and keep it in the package.

    A home is a submodule of the package; one with a dot is a module of any other place. Raises AttributeError for a
    name that the package does not have, as a module does.
    """
    home = homes.get(name)
    if home is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value: object = getattr(import_module(home if "." in home else f"{package}.{home}"), name)
    setattr(sys.modules[package], name, value)
    return value
