"""What typed JSON stands for, restored within the limits."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from .limits import MAX_DEPTH, MAX_NODES
from .objects import Build
from .typed_writer import PLAIN

Resolve = Callable[[str], "type | None"]
"""The class with a name from the wire, or None where it may not or cannot be used."""


class Reader:
    """Restores what the writer has replaced, within the limits."""

    __slots__ = ("_build", "_nodes", "_resolve")

    def __init__(self, resolve: Resolve | None, build: Build) -> None:
        self._resolve = resolve
        self._build = build
        self._nodes = 0

    def read(self, raw: Any, depth: int) -> Any:
        kind = cast("type[Any]", type(raw))
        if kind is not list and kind is not dict:
            return raw
        self._nodes += 1
        if depth >= MAX_DEPTH:
            raise ValueError(f"value nests deeper than {MAX_DEPTH} levels")
        if self._nodes > MAX_NODES:
            raise ValueError(f"value has more than {MAX_NODES} parts")
        if kind is list:
            return self.items(raw, depth)
        return self._tagged(raw, depth) if "$" in raw else self.fields(raw, depth)

    def fields(self, raw: dict[str, Any], depth: int) -> dict[str, Any]:
        """The values of an object that stands for itself, or for fields."""
        if PLAIN.issuperset(map(type, raw.values())):
            return raw
        return {key: self.read(item, depth + 1) for key, item in raw.items()}

    def items(self, raw: Any, depth: int) -> list[Any]:
        """The items of a list."""
        if type(raw) is not list:
            raise ValueError("value is malformed: the items are not a list")
        items = cast("list[Any]", raw)
        if PLAIN.issuperset(map(type, items)):
            return items
        return [self.read(item, depth + 1) for item in items]

    def _tagged(self, raw: dict[str, Any], depth: int) -> Any:
        kind, value = raw["$"], raw.get("v")
        if kind in _SEQUENCES:
            return _SEQUENCES[kind](self.items(value, depth))
        if kind in _READERS:
            return _READERS[kind](raw, self.read(value, depth) if type(value) is dict else value)
        match kind:
            case "dict":
                return self._pairs(value, depth)
            case "enum":
                return self._enum(raw, depth)
            case "object":
                return self._object(raw, depth)
            case "default":
                return ...
            case _:
                raise ValueError(f"value is malformed: unknown kind {kind!r}")

    def _pairs(self, pairs: Any, depth: int) -> dict[Any, Any]:
        if type(pairs) is not list:
            raise ValueError("value is malformed: the pairs are not a list")
        self._nodes += len(cast("list[Any]", pairs))
        return {self.read(key, depth + 1): self.read(item, depth + 1) for key, item in cast("list[Any]", pairs)}

    def _class(self, raw: dict[str, Any]) -> type | None:
        name = raw["c"]
        if type(name) is not str:
            raise ValueError("value is malformed: a class without a name")
        return self._resolve(name) if self._resolve is not None else None

    def _enum(self, raw: dict[str, Any], depth: int) -> Any:
        cls, name = self._class(raw), raw.get("n")
        value = self.read(raw["v"], depth + 1) if "v" in raw else name
        if cls is None or not issubclass(cls, Enum):
            return value
        member = cls.__members__.get(name) if type(name) is str else None
        try:
            return cls(value) if member is None else member
        except (ValueError, TypeError, KeyError):  # another version of the class
            return value

    def _object(self, raw: dict[str, Any], depth: int) -> Any:
        cls, values = self._class(raw), raw["v"]
        if type(values) is not dict:
            raise ValueError("value is malformed: the fields are not an object")
        read = self.fields(cast("dict[str, Any]", values), depth)
        extra: Any = self.read(raw["x"], depth + 1) if "x" in raw else {}
        if type(extra) is not dict:
            raise ValueError("value is malformed: the rest is not an object")
        extra = cast("dict[str, Any]", extra)
        return {**read, **extra} if cls is None else self._build(cls, read, extra)


_SEQUENCES: dict[Any, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


def _read_text(_raw: dict[str, Any], value: Any) -> str:
    return a2b_base64(value, strict_mode=True).decode(errors="surrogatepass")


def _read_float(_raw: dict[str, Any], value: Any) -> float:
    if value not in ("nan", "inf", "-inf"):
        raise ValueError("value is malformed: a float that is none")
    return float(value)


def _read_time(kind: Any) -> Callable[[dict[str, Any], Any], Any]:
    def read(raw: dict[str, Any], value: Any) -> Any:
        moment = kind.fromisoformat(value)
        if "zone" in raw:
            moment = moment.replace(tzinfo=_zone(raw))
        return moment.replace(fold=1) if raw.get("fold") == 1 else moment

    return read


def _zone(raw: dict[str, Any]) -> Any:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(raw["zone"])
    except Exception:  # noqa: BLE001 no such zone here, no data of zones at all, or no name
        if "offset" not in raw:
            return None
        from datetime import timezone

        return timezone(timedelta(seconds=raw["offset"]))


def _read_decimal(_raw: dict[str, Any], value: Any) -> Any:
    from decimal import Decimal  # costs some modules, and is rarely used

    if type(value) is not str:
        raise ValueError("value is malformed: a decimal that is no text")
    return Decimal(value)


def _read_secret(_raw: dict[str, Any], value: Any) -> Any:
    from pydantic import SecretStr  # slow to import, and rarely used

    if not isinstance(value, str):
        raise ValueError("value is malformed: a secret that is no text")
    return SecretStr(value)


_READERS: dict[Any, Callable[[dict[str, Any], Any], Any]] = {
    "int": lambda _, value: int(value, 16),
    "float": _read_float,
    "str": _read_text,
    "bytes": lambda _, value: a2b_base64(value, strict_mode=True),
    "uuid": lambda _, value: UUID(value),
    "path": lambda _, value: Path(value),
    "datetime": _read_time(datetime),
    "date": lambda _, value: date.fromisoformat(value),
    "time": _read_time(time),
    "timedelta": lambda _, value: timedelta(*value),
    "decimal": _read_decimal,
    "secret": _read_secret,
}
