"""Objects of dataclasses and models, made from the values of their fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, cast, get_args

from .annotations import resolved_annotations

Build = Callable[[type[Any], "dict[str, Any]", "dict[str, Any]"], Any]
"""Makes an object of a class from its fields, and what a model has beside them."""


def construct(cls: type[Any], values: dict[str, Any], extra: dict[str, Any]) -> Any:
    """A copy of an object that was valid where it was made; the class's constructor and validators do not run.

    Fields that have an encoding are decoded. What is no dataclass or model, or lacks a field, as that of another
    release may, stays a dict.
    """
    for name, adapter in encoded_fields(cls).items():
        if name in values:
            values = {**values, name: adapter.validate_python(values[name])}
    try:
        if is_dataclass(cls):
            return _dataclass(cls, values)
        if is_model(cls):
            return cls.model_construct(**values, **extra)
    except (TypeError, AttributeError, LookupError):
        pass
    return {**values, **extra}


def is_model(cls: type[Any]) -> bool:
    """Whether a class is a model of pydantic's; it is not imported for that."""
    return hasattr(cls, "model_fields") and hasattr(cls, "model_construct")


@lru_cache(maxsize=1024)
def encoded_fields(cls: type[Any]) -> dict[str, Any]:
    """Pydantic's adapters of the fields that are decoded when they are validated, by name: those of Base64Bytes, say.

    They travel encoded, as in JSON, since whoever validates them decodes them.
    """
    if is_model(cls):
        annotations = {name: field.rebuild_annotation() for name, field in cast("Any", cls).model_fields.items()}
    elif is_dataclass(cls):
        annotations = resolved_annotations(cls)
    else:
        return {}
    encoded = {name: annotation for name, annotation in annotations.items() if _has_encoding(annotation)}
    if not encoded:
        return {}
    from pydantic import TypeAdapter  # slow to import, and rarely needed

    return {name: TypeAdapter(annotation) for name, annotation in encoded.items()}


def _has_encoding(annotation: Any) -> bool:
    """Whether there is a mark like pydantic's EncodedBytes and EncodedStr in an annotation."""
    marks = getattr(annotation, "__metadata__", ())
    return any(hasattr(mark, "encoder") and hasattr(mark, "__get_pydantic_core_schema__") for mark in marks) or any(
        map(_has_encoding, get_args(annotation))
    )


def _dataclass(cls: type[Any], values: dict[str, Any]) -> Any:
    obj: Any = object.__new__(cls)
    for field in fields(cls):
        if field.name in values:
            value = values[field.name]
        elif field.default is not MISSING:
            value = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        else:
            raise LookupError(field.name)
        object.__setattr__(obj, field.name, value)
    return obj
