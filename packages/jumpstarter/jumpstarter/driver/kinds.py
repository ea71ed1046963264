"""Which annotations stand for which kind of value on the wire, and what objects are made of."""

from __future__ import annotations

import collections.abc
import os
import typing
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path, PurePath
from typing import Any, cast
from uuid import UUID

from ..common.annotations import resolved_annotations
from ..common.convert import unwrapped
from ..common.objects import is_model

_SCALARS: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
    bytearray: "bytes",
    UUID: "uuid",
    Path: "path",
    PurePath: "path",
    os.PathLike: "path",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "timedelta",
}


def scalar_kind(cls: type) -> str | None:
    """The kind of a class whose values have no parts."""
    if cls.__name__ == "Decimal" and cls.__module__ == "decimal":  # not imported for that
        return "decimal"
    return _SCALARS.get(cls)


SEQUENCES: dict[type, str] = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    collections.abc.Set: "set",
    collections.abc.MutableSet: "set",
}

LISTS: set[type] = {
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
}
"""What is sent as a list."""

MAPPINGS: set[type] = {dict, collections.abc.Mapping, collections.abc.MutableMapping}

ITERATORS: set[object] = {
    collections.abc.Generator,
    collections.abc.AsyncGenerator,
    collections.abc.Iterator,
    collections.abc.AsyncIterator,
    collections.abc.Iterable,
    collections.abc.AsyncIterable,
}
"""What the annotation of a generator is one of; its first argument is the item."""


def is_secret(cls: type[Any]) -> bool:
    """Whether a class is one of pydantic's secrets; it is not imported for that."""
    return cls.__module__.partition(".")[0] == "pydantic" and cls.__name__.startswith("Secret")


def is_value_class(cls: type[Any]) -> bool:
    """Whether objects of a class are made of fields that can be carried; a driver's are not."""
    return (is_dataclass(cls) or is_model(cls)) and not hasattr(cls, "enumerate")


def field_annotations(cls: type[Any], required: bool = False) -> dict[str, Any]:
    """The annotations of the fields that objects of a dataclass or model are made of; those without a default only."""
    if is_model(cls):
        model = cast("dict[str, Any]", cls.model_fields)
        return {name: field.annotation for name, field in model.items() if not required or field.is_required()}
    if not is_dataclass(cls):
        return {}
    annotations = resolved_annotations(cls)
    return {
        field.name: annotations.get(field.name, Any)
        for field in fields(cls)
        if field.init and not (required and (field.default is not MISSING or field.default_factory is not MISSING))
    }


def has_secret(annotation: Any, above: tuple[Any, ...] = ()) -> bool:
    """Whether values of a type can have a secret inside."""
    annotation = unwrapped(annotation)
    if isinstance(annotation, type):
        if is_secret(annotation):
            return True
        if annotation in above or not is_value_class(annotation):
            return False
        return any(has_secret(inner, (*above, annotation)) for inner in field_annotations(annotation).values())
    return any(has_secret(argument, above) for argument in typing.get_args(annotation))
