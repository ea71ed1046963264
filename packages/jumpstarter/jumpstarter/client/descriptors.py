"""The types of a report: how they are written, and what values they take.

The exporter converts and checks every value by itself. What is checked here fails sooner, and in no case refuses what
the exporter would take: where that is not certain, a value passes.
"""

from __future__ import annotations

import datetime
import decimal
import os
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any, cast
from uuid import UUID

from ..common.rules import collection_rule, fixed_tuple_rule, literal_rule, mapping_rule, union_rule
from ..common.scalars import PASS, SCALARS, ConversionError, Rule, fail, none
from ..common.suggest import did_you_mean
from ..common.text import one_line
from ..common.typed import loads as load_typed

Type = Any
"""A TypeDescriptor message."""

_PLAIN: dict[str, Rule] = {
    "any": PASS,
    "none": Rule("nothing (null)", none),
    **{cls.__name__: Rule(cls.__name__, SCALARS[cls]) for cls in (bool, int, float, str, bytes)},
    "uuid": Rule("UUID", SCALARS[UUID]),
}

_COLLECTIONS: dict[str, Callable[..., Any]] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}

_CLASSES: dict[str, tuple[type, ...]] = {
    "datetime": (datetime.datetime,),
    "date": (datetime.date,),
    "time": (datetime.time,),
    "timedelta": (datetime.timedelta,),
    "decimal": (decimal.Decimal,),
    "path": (os.PathLike,),
}

_NO_OBJECTS = (bool, int, float, list, tuple, bytes)
"""What never becomes an object with fields."""

_LONGEST = 60
"""Characters of a name or text from a report, in a type."""


def loads(text: str) -> Any:
    """The value of a typed JSON text from a report; `...` for one that has no form there, or is malformed."""
    try:
        return load_typed(text)
    except ValueError:
        return ...


def members_of(described: Type) -> list[tuple[str, Any]]:
    """Names and values of an enum's members."""
    pairs = (choice.partition("=") for choice in described.choices)
    return [(_short(name), loads(value) if mark else name) for name, mark, value in pairs]


def member_of(described: Type, value: Any) -> str | None:
    """The name of the enum's member that has a value; None where the type is no enum, or has no such member."""
    members = members_of(described) if described.kind == "enum" else []
    return next((name for name, member in members if type(member) is type(value) and member == value), None)


def choices_of(described: Type) -> list[Any]:
    """The values of a literal."""
    return [loads(choice) for choice in described.choices]


def is_handle(value: object) -> bool:
    """Whether a value is the handle of a byte stream that a client offers, which is never converted."""
    return isinstance(value, Mapping) and "kind" in value and ("uuid" in value or "url" in value)


def rule_of(described: Type) -> Rule:
    """What a type takes; values that only the exporter can judge pass."""
    kind: str = described.kind
    items = [rule_of(item) for item in described.items]
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "tuple" and items and not described.variadic:
        return fixed_tuple_rule(items)
    if kind in _COLLECTIONS:
        return collection_rule(_COLLECTIONS[kind], items[0] if items else PASS)
    if kind == "dict":
        return mapping_rule(*items) if len(items) == 2 else mapping_rule(PASS, PASS)
    if kind == "union" and items:
        return union_rule(items)
    if kind == "literal" and described.choices:
        return literal_rule(tuple(choices_of(described)))
    if kind == "enum" and described.choices:
        return _enum_rule(members_of(described))
    if kind == "object":
        return _object_rule(described)
    if kind in _CLASSES:
        return Rule(kind, partial(_instance, kind))
    return PASS


def _instance(kind: str, value: Any) -> Any:
    """An instance, or what the exporter may be able to make one of."""
    if isinstance(value, (*_CLASSES[kind], str)):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and kind != "path" else fail(f"a {kind}", value)


def _enum_rule(members: list[tuple[str, Any]]) -> Rule:
    names = [name for name, _ in members]
    expected = " or ".join([", ".join(names[:-1][:12]), names[-1]] if len(names) > 1 else names)

    def convert(value: Any) -> Any:
        plain = cast(object, value.value) if isinstance(value, Enum) else value
        for name, member in members:
            if plain == name or (plain == member and isinstance(plain, bool) == isinstance(member, bool)):
                return value
        if not isinstance(plain, str):
            return value  # flags, and classes that know other spellings
        return fail(expected, value, did_you_mean(plain, names))

    return Rule(expected, convert)


def _object_rule(described: Type) -> Rule:
    fields = {field.name: rule_of(field.type) for field in described.fields}
    expected = text_of(described)

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            for name, content in cast("Mapping[Any, Any]", value).items():
                try:
                    fields.get(name, PASS).convert(content)
                except ConversionError as e:
                    raise e.below(name) from None
        elif value is None or isinstance(value, _NO_OBJECTS):
            fail(expected, cast("Any", value))
        return cast("Any", value)

    return Rule(expected, convert)


def text_of(described: Type) -> str:
    """A type as Python writes it."""
    kind: str = described.kind
    items = [text_of(item) for item in described.items]
    match kind:
        case "any" | "":
            return "Any"
        case "none":
            return "None"
        case "union":
            return " | ".join(dict.fromkeys(items)) or "Any"
        case "literal":
            return f"Literal[{_listed([repr(choice) for choice in choices_of(described)])}]"
        case "enum" | "object":
            return _short(name_of(described)) or kind
        case "tuple" if described.variadic and items:
            return f"tuple[{items[0]}, ...]"
        case "list" | "tuple" | "set" | "frozenset" | "dict":
            return f"{kind}[{', '.join(items)}]" if items else kind
        case _:
            return _short(kind)


def name_of(described: Type) -> str:
    """The name of the class of an enum or object, without its module."""
    return described.name.replace(":", ".").rpartition(".")[2]


def _listed(texts: list[str]) -> str:
    shown = [_short(text) for text in texts[:12]]
    return ", ".join([*shown, "..."] if len(texts) > 12 else shown)


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
