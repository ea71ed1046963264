"""Results of calls on stdout: for people, or as JSON."""

from __future__ import annotations

import datetime
import json
import math
import sys
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast

import click

from ..common.text import printable

OUTPUT = "jumpstarter.output"
"""Key of `click.Context.meta` under which the format of the output is."""

JSON = "json"


def write_result(result: Any, as_json: bool) -> None:
    """Print what a call returned: nothing for None, unless as JSON."""
    if as_json:
        _write_json(result)
    elif isinstance(result, bytes | bytearray):
        _write_bytes(bytes(result))
    elif (value := plain(result)) is not None:
        _write_text(text_of(value))


def write_items(items: Generator[Any], as_json: bool) -> None:
    """Print items one by one, each on a line of its own, at once; bytes follow one another as they come."""
    with closing(items):
        for item in items:
            if as_json:
                _write_json(item)
            elif isinstance(item, bytes | bytearray):
                _write_bytes(bytes(item), newline=False)
            else:
                value = plain(item)
                _write_text("" if value is None else value if isinstance(value, str) else compact(value))


def text_of(value: Any) -> str:
    """A plain value for people: a mapping as `key: value`, a list item by item, the rest as JSON."""
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_cell(item)}" for key, item in cast("dict[str, Any]", value).items())
    if isinstance(value, list):
        return "\n".join(_cell(item) for item in cast("list[Any]", value))
    return _cell(value)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else compact(value)


def compact(value: Any) -> str:
    """A plain value on one line, as JSON."""
    return json.dumps(value, ensure_ascii=False)


def plain(value: Any) -> Any:
    """A value as JSON has it.

    Bytes become hexadecimal, a duration seconds, times ISO 8601, numbers that JSON lacks their names, and what has
    fields a mapping.
    """
    if value is None or isinstance(value, bool | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Enum):
        return plain(cast(object, value.value))
    if isinstance(value, int | float):
        return value if not isinstance(value, float) or math.isfinite(value) else _unusual(value)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in cast("set[Any]", value)), key=repr)
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    model_fields = getattr(cast("Any", type(value)), "__pydantic_fields__", None)
    if isinstance(model_fields, Mapping):
        return {name: plain(getattr(value, name)) for name in cast("Mapping[str, Any]", model_fields)}
    return str(value)  # a UUID, path, decimal, or secret, which hides itself


def _unusual(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _key(key: Any) -> str:
    value = plain(key)
    return value if isinstance(value, str) else compact(value)


def _write_json(value: Any) -> None:
    # ASCII: what a terminal would obey is escaped, and a program reads the same
    click.echo(json.dumps(plain(value)))


def _write_text(text: str) -> None:
    """Text of a device; on a terminal, what that would obey is shown instead."""
    if sys.stdout.isatty():
        text = printable(text)
    click.echo(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def _write_bytes(data: bytes, *, newline: bool = True) -> None:
    """Bytes as they are for programs; on a terminal as text, with escapes for the rest."""
    if not sys.stdout.isatty():
        click.echo(data, nl=False)
    elif data:
        click.echo(printable(data.decode("utf-8", "backslashreplace")), nl=newline and not data.endswith(b"\n"))
    sys.stdout.flush()
