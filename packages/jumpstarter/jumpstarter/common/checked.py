"""Objects that a peer sends, made by their classes from checked fields: what is wrong with one is found here."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, cast

from .annotations import resolved_annotations
from .convert import ConversionError, converter
from .objects import encoded_fields, is_model


def checked(cls: type[Any], values: dict[str, Any], extra: dict[str, Any]) -> Any:
    """An object of a class from its fields; ValueError says which of them does not fit.

    Unlike `objects.construct` it runs the class's constructor and validators.
    """
    if is_model(cls):
        return converter(cls)({**_by_alias(cls, values), **extra})
    if is_dataclass(cls):
        return _dataclass(cls, values)
    return {**values, **extra}


def _dataclass(cls: type[Any], values: dict[str, Any]) -> Any:
    annotations = resolved_annotations(cls)
    arguments: dict[str, Any] = {}
    decoded = encoded_fields(cls) if hasattr(cls, "__pydantic_validator__") else {}  # by the constructor, and once
    for field in fields(cls):
        if field.init and field.name in decoded and field.name in values:
            arguments[field.name] = values[field.name]
        elif field.init and field.name in values:
            try:
                arguments[field.name] = converter(annotations.get(field.name, Any))(values[field.name])
            except ConversionError as e:
                raise e.below(field.name) from None
    try:
        return cls(**arguments)
    except TypeError as e:
        raise ValueError(f"{cls.__name__} cannot be made of {', '.join(values) or 'nothing'}: {e}") from e


def _by_alias(cls: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """The fields by the names that the model takes them by."""
    config = cast("dict[str, Any]", cls.model_config)
    if config.get("populate_by_name") or config.get("validate_by_name"):
        return values
    model = cast("dict[str, Any]", cls.model_fields)
    return {_alias(model[name], name) if name in model else name: value for name, value in values.items()}


def _alias(field: Any, name: str) -> str:
    alias = field.validation_alias if field.validation_alias is not None else field.alias
    choices = [alias, *getattr(alias, "choices", ())]
    return next((choice for choice in choices if isinstance(choice, str)), name)
