"""The classes of values that a driver's annotations name: the only ones that its callers' objects can be of."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

from ..common.annotations import resolved_annotations
from ..common.convert import unwrapped
from ..common.typed_writer import class_name
from .kinds import field_annotations, is_value_class
from .table import exported_methods

_classes: WeakKeyDictionary[type[Any], Callable[[str], type[Any] | None]] = WeakKeyDictionary()


def resolver(cls: type[Any]) -> Callable[[str], type[Any] | None]:
    """Gives the enums, dataclasses and models of a driver's annotations, and their subclasses, by name."""
    found = _classes.get(cls)
    if found is None:
        known: dict[str, type[Any]] = {}
        for method in exported_methods(cls).values():
            for annotation in resolved_annotations(method.function).values():
                _collect(annotation, known)
        found = _classes[cls] = _resolver_of(known)
    return found


def _resolver_of(known: Mapping[str, type[Any]]) -> Callable[[str], type[Any] | None]:
    def resolve(name: str) -> type[Any] | None:
        return known.get(name) or next((sub for sub in _subclasses(known.values()) if class_name(sub) == name), None)

    return resolve


def _subclasses(classes: Iterable[type[Any]]) -> Iterable[type[Any]]:
    for cls in classes:
        below = cls.__subclasses__()
        yield from below
        yield from _subclasses(below)


def _collect(annotation: Any, known: dict[str, type[Any]]) -> None:
    annotation = unwrapped(annotation)
    for argument in typing.get_args(annotation):
        if not isinstance(argument, str):
            _collect(argument, known)
    if isinstance(annotation, type):
        _collect_class(annotation, known)


def _collect_class(cls: type[Any], known: dict[str, type[Any]]) -> None:
    if class_name(cls) not in known and (issubclass(cls, Enum) or is_value_class(cls)):
        known[class_name(cls)] = cls
        for inner in field_annotations(cls).values():
            _collect(inner, known)
