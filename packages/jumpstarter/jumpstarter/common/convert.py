"""Plain values, as YAML and the wire have them, checked and converted to what an annotation says.

Pydantic costs more to import than everything else here together, so the plain types do without it: bool, int, float,
str, bytes, None, Any, lists, tuples, sets and mappings of those, unions, literals, enums, paths and UUIDs. A pydantic
`TypeAdapter` takes the rest, made when the first value of such a type arrives.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import InitVar
from enum import Enum
from functools import lru_cache
from inspect import Parameter
from pathlib import Path
from typing import Any, cast

from .annotations import resolved_annotations
from .rules import collection_rule, enum_rule, fixed_tuple_rule, literal_rule, mapping_rule, union_rule
from .scalars import PASS, SCALARS, ConversionError, Converter, Rule, none
from .validated import annotated_rule, validated_rule

__all__ = ["ConversionError", "Converter", "converter", "expectation", "resolved_annotations", "unwrapped"]


def converter(annotation: Any) -> Converter:
    """The function that checks and converts one plain value to an annotation.

    The function raises `ConversionError`, a ValueError: "expected int, got 'abc' (str)". An integral float is an int,
    since the wire sends every number as a float; an int is a float; a bool is neither. Instances of the annotated
    class pass as they are. What cannot be checked (an unresolved name, a type that nobody knows) passes.
    """
    return _rule_for(annotation).convert


def expectation(annotation: Any) -> str:
    """What an error says was expected: `int`, `list of str`, `'host' or 'dut'`."""
    return _rule_for(annotation).expected


def _rule_for(annotation: Any) -> Rule:
    try:
        # unions are equal whatever their order, and the order counts here
        return _cached_rule(annotation, repr(annotation))
    except TypeError:  # an annotation that cannot be hashed
        return _make_rule(annotation)


@lru_cache(maxsize=1024)
def _cached_rule(annotation: Any, _order: str) -> Rule:
    return _make_rule(annotation)


def _make_rule(annotation: Any) -> Rule:
    annotation = unwrapped(annotation)
    if any(annotation is anything for anything in _ANYTHING) or isinstance(annotation, str | typing.ForwardRef):
        return PASS
    if annotation is None or annotation is types.NoneType:
        return Rule("nothing (null)", none)
    if type(annotation).__name__ == "TypeAliasType":  # Python 3.12; it may refer to itself
        return Rule(annotation.__name__, lambda value: _rule_for(annotation.__value__).convert(value))
    if isinstance(annotation, type) and annotation in SCALARS:
        return Rule(annotation.__name__, SCALARS[annotation], exact=annotation if annotation is not Path else None)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return enum_rule(annotation)
    return _generic_rule(annotation, typing.get_origin(annotation) or annotation, typing.get_args(annotation))


def _generic_rule(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Rule:
    if origin is typing.Union or origin is types.UnionType:
        return union_rule([_rule_for(member) for member in arguments])
    if origin is typing.Literal:
        return literal_rule(arguments)
    if origin is typing.Annotated:
        return annotated_rule(annotation, _rule_for(arguments[0]))
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return fixed_tuple_rule([_rule_for(item) for item in arguments])
    if isinstance(origin, type) and origin in _COLLECTIONS:
        return collection_rule(_COLLECTIONS[origin], _rule_for(arguments[0]) if arguments else PASS)
    if isinstance(origin, type) and origin in _MAPPINGS:
        key, item = arguments if len(arguments) == 2 else (Any, Any)
        return mapping_rule(_rule_for(key), _rule_for(item))
    return validated_rule(annotation)


def unwrapped(annotation: Any) -> Any:
    """The type behind the names and marks that say nothing of a value."""
    while True:
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, InitVar):
            annotation = cast("Any", annotation).type
        elif isinstance(annotation, typing.TypeVar):
            annotation = annotation.__bound__ or Any
        elif typing.get_origin(annotation) is typing.Final or (
            # a text is documentation, not a constraint
            typing.get_origin(annotation) is typing.Annotated
            and all(isinstance(mark, str) for mark in annotation.__metadata__)
        ):
            annotation = typing.get_args(annotation)[0]
        else:
            return annotation


_COLLECTIONS: dict[type, Callable[[Iterable[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
}
_ANYTHING = (Any, object, Parameter.empty)
_MAPPINGS: set[type] = {dict, collections.abc.Mapping, collections.abc.MutableMapping}
