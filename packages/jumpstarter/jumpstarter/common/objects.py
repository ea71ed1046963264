"""Objects of dataclasses and models, made from the values of their fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

Build = Callable[[type[Any], "dict[str, Any]", "dict[str, Any]"], Any]
"""Makes an object of a class from its fields, and what a model has beside them."""


def construct(cls: type[Any], values: dict[str, Any], extra: dict[str, Any]) -> Any:
    """A copy of an object that was valid where it was made; the class's constructor and validators do not run.

    What is no dataclass or model, or lacks a field, as that of another release may, stays a dict.
    """
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
