"""What typed JSON puts in the place of values that JSON has no form for."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from math import isfinite
from pathlib import Path, PurePath
from typing import Any, cast
from uuid import UUID

from .limits import MAX_DEPTH, MAX_NODES
from .objects import encoded_fields, is_model
from .values import json_form

PLAIN: frozenset[type] = frozenset((str, int, float, bool, type(None)))
"""What JSON writes as it is, but for a few values."""

LONG = 1 << 8192
"""Integers from here on are written in hexadecimal: decimal ones take time that grows with the square."""


def class_name(cls: type[Any]) -> str:
    """How a class is named on the wire."""
    return f"{cls.__module__}:{cls.__qualname__}"


class Writer:
    """Replaces what JSON has no form for; what is plain stays as it is, unless `careful`, with no look at the items."""

    __slots__ = ("_careful", "_nodes", "_plain")

    def __init__(self, careful: bool) -> None:
        self._careful = careful
        self._plain: frozenset[type] = frozenset((type(None), bool)) if careful else PLAIN
        self._nodes = 0

    def write(self, obj: Any, depth: int) -> Any:
        kind = cast("type[Any]", type(obj))
        if kind in self._plain:
            return obj
        if kind is str:
            return _text(obj)
        if kind is float:
            return obj if isfinite(obj) else {"$": "float", "v": str(obj)}
        if kind is int:
            return obj if -LONG < obj < LONG else {"$": "int", "v": hex(obj)}
        self._nodes += 1
        if depth >= MAX_DEPTH:
            raise ValueError(f"value nests deeper than {MAX_DEPTH} levels")
        if self._nodes > MAX_NODES:
            raise ValueError(f"value has more than {MAX_NODES} parts")
        if kind is list:
            return self._items(obj, depth)
        if kind is dict:
            return self._mapping(obj, depth)
        return self._tagged(kind, obj, depth)

    def _items(self, items: Any, depth: int) -> list[Any]:
        if self._plain.issuperset(map(type, items)):
            return cast("list[Any]", items) if type(items) is list else list(items)
        return [self.write(item, depth + 1) for item in items]

    def _mapping(self, mapping: dict[Any, Any], depth: int) -> Any:
        if "$" in mapping or not _TEXT.issuperset(map(type, mapping)) or (self._careful and not _sendable(mapping)):
            return {
                "$": "dict",
                "v": [[self.write(k, depth + 1), self.write(v, depth + 1)] for k, v in mapping.items()],
            }
        if self._plain.issuperset(map(type, mapping.values())):
            return mapping
        return {key: self.write(item, depth + 1) for key, item in mapping.items()}

    def _tagged(self, kind: type[Any], obj: Any, depth: int) -> Any:
        if kind is tuple or kind is set or kind is frozenset:
            return {"$": kind.__name__, "v": self._items(obj, depth)}
        if (scalar := _SCALARS.get(kind)) is not None:
            return scalar(obj)
        if isinstance(obj, Enum):
            return self._enum(kind, obj, depth)
        if isinstance(obj, str | int | float | list | dict | tuple | set | frozenset):
            return self.write(_base(obj), depth)
        if is_dataclass(kind):
            values = {field.name: getattr(obj, field.name) for field in fields(obj) if hasattr(obj, field.name)}
            return self._object(kind, values, depth)
        if is_model(kind):
            return self._model(kind, obj, depth)
        if obj is ...:
            return {"$": "default"}
        for base, scalar in _SCALARS.items():
            if isinstance(obj, base):
                return scalar(obj)
        if (secret := _secret(obj)) is not None:
            return {"$": "secret", "v": _text(secret)}
        if kind.__name__ == "Decimal" and kind.__module__ == "decimal":
            return {"$": "decimal", "v": str(obj)}
        if isinstance(obj, Mapping):
            return self.write(dict(cast("Mapping[Any, Any]", obj)), depth)
        return self.write(json_form(obj), depth + 1)

    def _enum(self, kind: type[Any], obj: Enum, depth: int) -> Any:
        tag: dict[str, Any] = {"$": "enum", "c": class_name(kind)}
        if obj.name is not None:  # pyright: ignore[reportUnnecessaryComparison] that of a combination of flags
            tag["n"] = obj.name
        try:
            return tag | {"v": self.write(obj.value, depth + 1)}
        except ValueError:
            if "n" not in tag:
                raise
            return tag

    def _object(self, kind: type[Any], values: dict[str, Any], depth: int, extra: dict[str, Any] | None = None) -> Any:
        for name, adapter in encoded_fields(kind).items():
            if name in values:
                values[name] = adapter.dump_python(values[name], mode="json")
        tag = {"$": "object", "c": class_name(kind), "v": {k: self.write(v, depth + 1) for k, v in values.items()}}
        return tag | {"x": self.write(extra, depth + 1)} if extra else tag

    def _model(self, kind: type[Any], obj: Any, depth: int) -> Any:
        values = {name: obj.__dict__[name] for name in kind.model_fields if name in obj.__dict__}
        return self._object(kind, values, depth, obj.__pydantic_extra__)


_TEXT: frozenset[type] = frozenset((str,))


def _text(text: str) -> Any:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"$": "str", "v": _base64(text.encode(errors="surrogatepass"))}
    return text


def _sendable(texts: Iterable[str]) -> bool:
    return all(type(_text(text)) is str for text in texts)


def _base64(data: bytes | bytearray | memoryview) -> str:
    return b2a_base64(data, newline=False).decode()


def _base(obj: Any) -> Any:
    """A value of a class derived from a plain one, as that."""
    if isinstance(obj, str):
        return str.__str__(obj)  # not str(obj): a class may say that its text is another
    base = next(base for base in _BASES if isinstance(obj, cast(type, base)))
    return base(obj)


_BASES: tuple[Callable[[Any], Any], ...] = (int, float, list, dict, tuple, set, frozenset)


def _secret(obj: Any) -> str | None:
    """The text in a pydantic secret."""
    kind = cast("type[Any]", type(obj))
    if kind.__module__.partition(".")[0] != "pydantic" or not kind.__name__.startswith("Secret"):
        return None
    if kind.__name__ != "SecretStr":  # pydantic would write asterisks
        raise ValueError(f"a {kind.__name__} cannot be sent; use SecretStr")
    return obj.get_secret_value()


def _zoned(kind: str, value: datetime | time) -> dict[str, Any]:
    """A time without its zone, and the zone by name or as the offset that is in the ISO form."""
    tag: dict[str, Any] = {"$": kind, "v": value.isoformat()}
    if value.fold:
        tag["fold"] = 1
    if value.tzinfo is not None and isinstance(zone := getattr(value.tzinfo, "key", None), str):
        tag |= {"v": value.replace(tzinfo=None).isoformat(), "zone": zone}
        if (offset := value.utcoffset()) is not None:  # for who does not know the zone
            tag["offset"] = offset.total_seconds()
    return tag


_SCALARS: dict[type, Callable[[Any], Any]] = {
    bytes: lambda value: {"$": "bytes", "v": _base64(value)},
    bytearray: lambda value: {"$": "bytes", "v": _base64(value)},
    memoryview: lambda value: {"$": "bytes", "v": _base64(value)},
    UUID: lambda value: {"$": "uuid", "v": str(value)},
    type(Path()): lambda value: {"$": "path", "v": _text(str(value))},
    PurePath: lambda value: {"$": "path", "v": _text(str(value))},
    datetime: lambda value: _zoned("datetime", value),
    date: lambda value: {"$": "date", "v": value.isoformat()},
    time: lambda value: _zoned("time", value),
    timedelta: lambda value: {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]},
}
