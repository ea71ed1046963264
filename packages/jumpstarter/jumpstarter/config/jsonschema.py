"""The format of configuration files as JSON Schema, for editors."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field
from typing import Any

from .entry import ExporterConfigV1Alpha1DriverInstance as Entry
from .exporter import ExporterConfigV1Alpha1
from .schema import dump, is_required, key_of, nested_class, settings, spellings, types_of

_JSON_TYPES: Mapping[Any, str] = {str: "string", int: "integer", bool: "boolean", float: "number", type(None): "null"}


def json_schema(cls: type[Any] = ExporterConfigV1Alpha1) -> dict[str, Any]:
    """What a configuration may contain."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.__name__.removesuffix("V1Alpha1"),
        **_object(cls),
        "$defs": {"entry": _entry()},
    }


def _object(cls: type[Any]) -> dict[str, Any]:
    properties = {
        spelling: _property(cls, field) | ({"deprecated": True} if index else {})
        for field in settings(cls)
        for index, spelling in enumerate(spellings(field))
    }
    # what the environment can give is not required here
    required = [spellings(field)[0] for field in settings(cls) if is_required(field) and not key_of(field).env]
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if cls.__doc__:
        schema["description"] = cls.__doc__.partition("\n")[0]
    return schema | ({"required": required} if required else {})


def _entry() -> dict[str, Any]:
    """A driver, a composite or a reference: each with the keys that mean something for it."""
    properties: dict[str, Any] = _object(Entry)["properties"]
    kinds = {
        "type": ["type", "description", "methods_description", "config", "children"],
        "children": ["children", "description"],
        "ref": ["ref"],
    }
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": {name: properties[name] for name in names},
                "required": [kind],
                "additionalProperties": False,
            }
            for kind, names in kinds.items()
        ]
    }


def _property(cls: type[Any], field: Field[Any]) -> dict[str, Any]:
    how = key_of(field)
    schema = _value(types_of(cls)[field.name])
    if field.default_factory is not MISSING:
        schema = {"anyOf": [schema, {"type": "null"}]}  # a key with nothing below it
    elif field.default not in (MISSING, None):
        schema = schema | {"default": dump(field.default)}
    if how.least is not None:
        schema = schema | {"minimum": how.least}
    return schema | ({"description": how.help} if how.help else {})


def _value(annotation: Any) -> dict[str, Any]:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if annotation is Entry:
        return {"$ref": "#/$defs/entry"}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_value(member) for member in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _value(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _value(arguments[1])}
    if (nested := nested_class(annotation)) is not None:
        return _object(nested)
    return {} if annotation is Any else {"type": _JSON_TYPES[annotation]}
