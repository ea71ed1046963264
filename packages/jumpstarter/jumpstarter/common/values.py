"""Python values in the wire form of driver calls, `google.protobuf.Value`.

The public form is JSON's: every number is a double and comes back as `float`, keys of a mapping are
strings and their order is not kept, NaN and infinities become null, bytes travel as UTF-8 text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, cast

from google.protobuf.struct_pb2 import NULL_VALUE, Value

from .limits import MAX_DEPTH


def encode_value(obj: object) -> Value:
    """The wire form of a value.

    Plain values are coded directly; models, dataclasses, dates, UUIDs and the like as pydantic writes them to JSON.
    Raises ValueError for what has no JSON form, bytes that are not UTF-8 and nesting deeper than MAX_DEPTH.
    """
    value = Value()
    encode_into(value, obj)
    return value


def encode_into(value: Value, obj: object) -> None:
    """Write the wire form of a value into a field of a message; see `encode_value`."""
    _encode(value, obj, 0)


def _encode(value: Value, obj: object, depth: int) -> None:
    kind = type(obj)
    if kind is str:
        value.string_value = cast(str, obj)
    elif obj is None:
        value.null_value = NULL_VALUE
    elif kind is bool:
        value.bool_value = cast(bool, obj)
    elif kind is int or kind is float:
        _encode_number(value, cast(float, obj))
    elif depth >= MAX_DEPTH:
        raise ValueError(f"value nests deeper than {MAX_DEPTH} levels")
    elif kind is dict:
        fields = value.struct_value.fields
        for key, item in cast("dict[object, object]", obj).items():
            _encode(fields[key if type(key) is str else _key(key)], item, depth + 1)
    elif kind is list or kind is tuple or kind is set or kind is frozenset:
        value.list_value.SetInParent()
        _encode_items(value.list_value.values.add, cast("list[object]", obj), depth + 1)
    else:
        _encode(value, _plain(obj), depth + 1)
    if kind is dict and not obj:
        value.struct_value.SetInParent()


def _encode_items(add: Callable[[], Value], items: Iterable[object], depth: int) -> None:
    """The items of a list; the plain ones here, since lists of thousands of them are common."""
    for item in items:
        if type(item) is float and math.isfinite(item):
            add().number_value = item
        elif type(item) is str:
            add().string_value = item
        elif type(item) is bool:
            add().bool_value = item
        else:
            _encode(add(), item, depth)


def _encode_number(value: Value, number: float) -> None:
    try:
        finite = math.isfinite(number)
    except OverflowError:
        raise ValueError(f"integer of {int(number).bit_length()} bits does not fit the wire; send it as text") from None
    if finite:
        value.number_value = number
    else:
        value.null_value = NULL_VALUE


def _key(key: object) -> str:
    """The text of a mapping's key, as JSON has it."""
    plain = key if isinstance(key, str | int | float) or key is None else _plain(key)
    match plain:
        case str():
            return str(plain)
        case None:
            return "None"
        case bool():
            return "true" if plain else "false"
        case int() | float():
            return str(plain)
        case _:
            raise ValueError(f"a mapping's key of type {type(key).__name__} cannot be sent")


def _plain(obj: object) -> object:
    """The JSON-like form of a value that is not plain itself."""
    if isinstance(obj, bytes | bytearray):
        return obj.decode()
    if isinstance(obj, Enum):
        return cast(object, obj.value)
    if isinstance(obj, str):
        return str.__str__(obj)
    if isinstance(obj, int):
        return int(obj)
    if isinstance(obj, float):
        return float(obj)
    if isinstance(obj, Mapping):
        return dict(cast("Mapping[object, object]", obj))
    return json_form(obj)


_AS_SENT = frozenset((str, int, float, bool, type(None)))


def public_shape(obj: Any, depth: int = 0) -> Any:
    """A value with the shape that the public form would give it; numbers stay as they are.

    Objects are mappings, enums their values, dates, UUIDs and bytes texts, tuples and sets lists, keys texts. Raises as
    `encode_value` does.
    """
    kind = cast("type[Any]", type(obj))
    if kind in _AS_SENT:
        return obj
    if depth >= MAX_DEPTH:
        raise ValueError(f"value nests deeper than {MAX_DEPTH} levels")
    if kind is dict:
        return {key if type(key) is str else _key(key): public_shape(item, depth + 1) for key, item in obj.items()}
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        items = list(obj)
        return items if _AS_SENT.issuperset(map(type, items)) else [public_shape(item, depth + 1) for item in items]
    return public_shape(_plain(obj), depth + 1)


def json_form(obj: object) -> object:
    """What pydantic writes to JSON for a value; ValueError where it cannot."""
    from pydantic import TypeAdapter  # slow to import, and rarely needed

    return cast(object, TypeAdapter(Any).dump_python(obj, mode="json"))


def decode_value(value: Value) -> Any:
    """The Python value of a wire form; an unset one is None."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return {key: decode_value(item) for key, item in value.struct_value.fields.items()}
        case "list_value":
            return [decode_value(item) for item in value.list_value.values]
        case _:
            return None
