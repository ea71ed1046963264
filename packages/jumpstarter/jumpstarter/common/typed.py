"""Typed JSON: the form of values between peers of this implementation, in which no type gets lost.

It is JSON, except that an object with the key `$` stands for what JSON has no form for: `{"$": "bytes", "v": "AP8="}`.

| `$` | `v` |
|---|---|
| `int` | hexadecimal, of integers that are too long for a JSON number |
| `float` | `nan`, `inf`, `-inf` |
| `str` | base64 of UTF-8, of texts with surrogates |
| `bytes` | base64 |
| `uuid`, `path`, `decimal`, `secret` | text |
| `datetime`, `date`, `time` | ISO 8601; `zone` is the name of the time zone where there is one, `fold` is 1 or absent |
| `timedelta` | days, seconds, microseconds |
| `tuple`, `set`, `frozenset` | items |
| `dict` | pairs, of mappings with keys other than texts, or with the key `$` |
| `enum` | the value; `c` is the class, `n` the name |
| `object` | the fields of a dataclass or model; `c` is the class, `x` what a model has beside its fields |
| `default` | absent: there is a value, which has no form here; Python's `...` |

A class is named as `module:qualified name`. Who reads decides which classes there are: an enum of a class that is
unknown becomes its value, an object a dict. A field that is decoded when it is validated, as one of pydantic's
Base64Bytes, has its encoded form, as in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NoReturn, cast

from google.protobuf.struct_pb2 import NULL_VALUE, Value

from .limits import MAX_DEPTH
from .objects import Build, construct
from .typed_reader import Reader, Resolve
from .typed_writer import LONG, PLAIN, Writer

__all__ = ["Build", "Resolve", "dump_arguments", "dumps", "load_arguments", "loads"]


def _refuse(obj: object) -> NoReturn:
    raise ValueError(f"a value of type {type(obj).__name__} cannot be sent")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"value is malformed: {name}")


_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=_refuse
).encode
_decode = json.JSONDecoder(parse_constant=_no_constant).decode


def dumps(obj: object) -> str:
    """A value as typed JSON.

    Raises ValueError for what has no form there, and for values that nest too deep or are too large.
    """
    if type(obj) is int and -LONG < obj < LONG:
        return str(obj)
    return _dump(obj, 0)


def dump_arguments(args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """The arguments of a call, which `load_arguments` reads."""
    return _dump(
        {"args": list(args), "kwargs": dict(kwargs)}, -2, plain=not kwargs and PLAIN.issuperset(map(type, args))
    )


def _dump(obj: object, depth: int, plain: bool = False) -> str:
    try:
        text = _encode(obj if plain else Writer(careful=False).write(obj, depth))
        if not text.isascii():
            text.encode()  # surrogates have no UTF-8
    except ValueError:  # a value among the plain ones that JSON has no form for, or something really wrong
        return _encode(Writer(careful=True).write(obj, depth))
    return text


def write_plain(field: Value, obj: object) -> bool:
    """Write a value into a field in the public form, if that is quicker and it arrives there as it is."""
    kind = type(obj)
    if kind is str:
        try:
            field.string_value = cast(str, obj)
        except ValueError:  # surrogates
            return False
    elif obj is None:
        field.null_value = NULL_VALUE
    elif kind is bool:
        field.bool_value = cast(bool, obj)
    elif kind is float and isfinite(cast(float, obj)):
        field.number_value = cast(float, obj)
    else:
        return False
    return True


def loads(text: str, resolve: Resolve | None = None, build: Build = construct) -> Any:
    """The value of a typed JSON text; ValueError where it is none.

    `resolve` gives the classes of enums and objects by name, and `build` makes an object of a class and its fields.
    """
    try:
        raw = _decode(text)
        return raw if type(raw) in PLAIN else Reader(resolve, build).read(raw, 0)
    except _MALFORMED as e:
        raise _malformed(e) from e


def load_arguments(
    text: str, resolve: Resolve | None = None, build: Build = construct
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call by position and by name; ValueError where the text is none."""
    try:
        raw = _dict(_decode(text))
        if raw.keys() != _ARGUMENTS:
            raise ValueError("value is malformed: not two lists of arguments")
        args, kwargs = _list(raw["args"]), _dict(raw["kwargs"])
        if not kwargs and PLAIN.issuperset(map(type, args)):
            return args, kwargs
        reader = Reader(resolve, build)
        return reader.items(args, -1), reader.fields(kwargs, -1)
    except _MALFORMED as e:
        raise _malformed(e) from e


def _list(raw: Any) -> list[Any]:
    if type(raw) is not list:
        raise ValueError("value is malformed: no list")
    return cast("list[Any]", raw)


def _dict(raw: Any) -> dict[str, Any]:
    if type(raw) is not dict:
        raise ValueError("value is malformed: no object")
    return cast("dict[str, Any]", raw)


_ARGUMENTS = {"args", "kwargs"}
_MALFORMED = (RecursionError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What reading something else than typed JSON raises, beside ValueError."""


def _malformed(error: Exception) -> ValueError:
    if isinstance(error, RecursionError):
        return ValueError(f"value nests deeper than {MAX_DEPTH} levels")
    return ValueError(f"value is malformed: {error}")
