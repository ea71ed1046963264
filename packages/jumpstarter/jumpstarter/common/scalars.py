"""Types that a value fits or does not without a look inside: numbers, texts, paths; and the error when it does not."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

Converter = Callable[[Any], Any]


class ConversionError(ValueError):
    """A value does not fit an annotation; `path` leads through its items and keys to the part that does not."""

    def __init__(self, reason: str, value: object, *, path: tuple[object, ...] = (), hint: str = "") -> None:
        super().__init__(reason, value)
        self.reason = reason
        self.value = value
        self.path = path
        self.hint = hint

    def __str__(self) -> str:
        where = "".join(f"item {step}: " if isinstance(step, int) else f"key {step!r}: " for step in self.path)
        return f"{where}{self.problem}"

    @property
    def problem(self) -> str:
        """The message without the path."""
        return f"{self.reason}, got {show(self.value)}{self.hint}"

    def below(self, step: object) -> ConversionError:
        """The same error, of a container that has the value as an item or under a key."""
        return ConversionError(self.reason, self.value, path=(step, *self.path), hint=self.hint)


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60


def show(value: object) -> str:
    """A value in an error message: one line, not too long, with its type where that is not obvious."""
    if value is None:
        return "nothing (null)"
    try:
        text = " ".join(_repr.repr(value).split())
    except ValueError:  # an integer too long for a text
        text = "a value without a text"
    return f"{text} ({type(value).__name__})"


@dataclass(frozen=True, slots=True)
class Rule:
    """How values become those of one annotation, and what an error says was expected."""

    expected: str
    convert: Converter

    exact: type | None = None
    """Values of just this type stay as they are; None where one has to look."""


def fail(expected: str, value: object, hint: str = "") -> NoReturn:
    """Refuse a value."""
    raise ConversionError(f"expected {expected}", value, hint=hint)


def _pass(value: Any) -> Any:
    return value


def none(value: Any) -> None:
    """Take None only."""
    if value is not None:
        fail("nothing (null)", value)


def _bool(value: Any) -> bool:
    return value if type(value) is bool else fail("bool", value)


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else fail("int", value, _unquote(value))


def _float(value: Any) -> float:
    if isinstance(value, float):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        fail("float", value, _unquote(value))
    try:
        return float(value)
    except OverflowError:
        fail("float", value)


def _unquote(value: Any) -> str:
    """The hint for a number that came as text."""
    number = isinstance(value, str) and value.removeprefix("-").replace(".", "", 1).isdecimal()
    return "; write it without quotes" if number else ""


def _str(value: Any) -> str:
    if isinstance(value, str):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fail("str", value, f'; write it as "{value}"' if number else "")


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    # the wire has bytes as text
    return value.encode(errors="surrogatepass") if isinstance(value, str) else fail("bytes", value)


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        fail("a path", value)
    return Path(value)


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        fail("UUID", value)


PASS = Rule("anything", _pass)
SCALARS: dict[type, Converter] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    Path: _path,
    UUID: _uuid,
}
