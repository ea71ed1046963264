"""Rules for the types that only pydantic knows; it is imported when the first value of one arrives."""

from __future__ import annotations

import typing
from functools import cache
from typing import Any

from .scalars import SCALARS, ConversionError, Converter, Rule


def annotated_rule(annotation: Any, base: Rule) -> Rule:
    """The base type by its own rule, then the constraints by pydantic."""
    validated = validated_rule(annotation)
    converts_itself = any(hasattr(mark, "__get_pydantic_core_schema__") for mark in annotation.__metadata__)
    if converts_itself or base.convert not in SCALARS.values():
        return validated
    return Rule(base.expected, lambda value: validated.convert(base.convert(value)))


def validated_rule(annotation: Any) -> Rule:
    """Whatever pydantic says; instances of the class pass."""
    base = typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation
    expected = base.__name__ if isinstance(base, type) else str(base).replace("typing.", "")
    validator = cache(lambda: _pydantic_validator(annotation))

    def convert(value: Any) -> Any:
        if isinstance(annotation, type) and _is_instance(value, annotation):
            return value
        validate = validator()
        return value if validate is None else validate(value)

    return Rule(expected, convert)


def _is_instance(value: object, kind: type) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:  # a typed dict, or a protocol that cannot be checked
        return False


def _pydantic_validator(annotation: Any) -> Converter | None:
    """What pydantic makes of an annotation; None where it can make nothing of it."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    try:
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticUserError:  # models and dataclasses have a configuration of their own
            adapter = TypeAdapter(annotation)
    except Exception:  # noqa: BLE001 a type that pydantic cannot describe is not checked
        return None

    def validate(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as e:
            first = e.errors(include_url=False, include_context=False)[0]
            message = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
            raise ConversionError(message, first["input"], path=first["loc"]) from e

    return validate
