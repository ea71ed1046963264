"""The annotations of functions and classes as objects, as far as they can be resolved."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any


def signature_of_callable(source: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function or class, also where annotations name what only type checkers know."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(source, annotation_format=Format.FORWARDREF)
    return inspect.signature(source)


def resolved_annotations(source: Any) -> dict[str, Any]:
    """The annotations of a function, or of a class with its bases, as objects.

    Those that cannot be resolved are left out: a module may be imported for type checkers only.
    """
    try:
        return typing.get_type_hints(source, include_extras=True)
    except Exception:  # noqa: BLE001 evaluating a text can raise anything
        pass
    resolved: dict[str, Any] = {}
    for owner in reversed(source.__mro__) if isinstance(source, type) else [_unwrapped_function(source)]:
        names = vars(sys.modules.get(owner.__module__, types)) if isinstance(owner, type) else owner.__globals__
        for name, annotation in _raw_annotations(owner).items():
            resolved.pop(name, None)
            holder = types.SimpleNamespace(__annotations__={name: annotation})
            try:
                resolved |= typing.get_type_hints(
                    holder, dict(names), dict(vars(owner)) if isinstance(owner, type) else None, include_extras=True
                )
            except Exception:  # noqa: BLE001 as above
                continue
    return resolved


def _unwrapped_function(function: Any) -> Any:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return getattr(function, "__func__", function)


def _raw_annotations(owner: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    annotations = vars(owner).get("__annotations__") if isinstance(owner, type) else owner.__annotations__
    return annotations or {}
