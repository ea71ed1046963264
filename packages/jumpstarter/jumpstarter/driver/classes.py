"""The classes of values that a driver's annotations name: the only ones that its callers' objects can be of."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast
from weakref import WeakKeyDictionary

from ..common.annotations import resolved_annotations
from ..common.convert import unwrapped
from ..common.objects import is_model
from ..common.typed import class_name
from .table import exported_methods

_classes: WeakKeyDictionary[type[Any], Callable[[str], type[Any] | None]] = WeakKeyDictionary()


def resolver(cls: type[Any]) -> Callable[[str], type[Any] | None]:
    """Gives the enums, dataclasses and models of a driver's annotations, and their subclasses, by name; imports none."""
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
    if not isinstance(annotation, type) or class_name(annotation) in known:
        return
    if issubclass(annotation, Enum) or is_value_class(annotation):
        known[class_name(annotation)] = annotation
        for inner in field_annotations(annotation).values():
            _collect(inner, known)


def is_value_class(cls: type[Any]) -> bool:
    """Whether objects of a class are made of fields that can be carried; a driver's are not."""
    return (is_dataclass(cls) or is_model(cls)) and not hasattr(cls, "enumerate")


def field_annotations(cls: type[Any]) -> dict[str, Any]:
    """The annotations of the fields that objects of a dataclass or model are made of."""
    if is_model(cls):
        models = cast("dict[str, Any]", cast("Any", cls).__pydantic_fields__)
        return {name: field.annotation for name, field in models.items()}
    if not is_dataclass(cls):
        return {}
    annotations = resolved_annotations(cls)
    return {field.name: annotations.get(field.name, Any) for field in fields(cls) if field.init}
