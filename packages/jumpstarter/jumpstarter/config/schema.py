"""Plain data to dataclasses and back; the fields of a dataclass say which keys they have in YAML."""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass
from functools import cache
from typing import Any, TypeVar, cast

from ..common.convert import ConversionError, converter, expectation
from ..common.suggest import did_you_mean
from .place import Place
from .problems import Problems

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Key:
    """How a field is written in YAML."""

    spellings: tuple[str, ...] = ()
    """The first is written, all are read; the name of the field if there is none."""

    help: str = ""
    secret: bool = False
    """Errors do not show the value."""

    always: bool = False
    """Write it even if it has its default."""

    env: str | None = None
    """Environment variable that is read where the key is missing."""

    least: int | None = None
    read: Callable[[Any, Place, Problems], Any] | None = None
    """Makes the value of data, in place of the annotation."""

    internal: bool = False
    """No key at all."""


def key(*spellings: str, **properties: Any) -> dict[str, Key]:
    """Metadata for `dataclasses.field`: the spellings and other properties of its key."""
    return {"key": Key(spellings=spellings, **properties)}


def key_of(field: Field[Any]) -> Key:
    """How a field is written."""
    return field.metadata.get("key", Key())


def spellings(field: Field[Any]) -> tuple[str, ...]:
    """The keys of a field, the one that is written first."""
    return key_of(field).spellings or (field.name,)


def settings(cls: Any) -> list[Field[Any]]:
    """The fields of a class that have keys."""
    return [field for field in dataclasses.fields(cls) if not key_of(field).internal]


def is_required(field: Field[Any]) -> bool:
    """Whether a field has no default."""
    return field.default is MISSING and field.default_factory is MISSING


@cache
def types_of(cls: type[Any]) -> dict[str, Any]:
    """The types of the fields of a class."""
    return typing.get_type_hints(cls)


def nested_class(annotation: Any) -> type[Any] | None:
    """The dataclass that an annotation names, alone or as optional."""
    members = [member for member in typing.get_args(annotation) or (annotation,) if member is not type(None)]
    only: Any = members[0] if len(members) == 1 else None
    return only if isinstance(only, type) and dataclasses.is_dataclass(only) else None


def read(cls: type[T], data: Any, place: Place, problems: Problems) -> T | None:
    """An object from data at a place; None if something that it needs is wrong or missing."""
    values = read_values(cls, data, place, problems)
    return None if any(is_required(field) and field.name not in values for field in settings(cls)) else cls(**values)


def read_values(cls: type[Any], data: Any, place: Place, problems: Problems) -> dict[str, Any]:
    """The values of the fields, without those that are wrong."""
    if not is_mapping(data, place, problems):
        return {}
    known = {spelling: field for field in settings(cls) for spelling in spellings(field)}
    seen: dict[str, Any] = {}
    advice = ""
    for name, value in data.items():
        field = known.get(name) if isinstance(name, str) else None
        if field is None:
            advice += unknown_key(place / name, known, problems)
        elif field.name in seen:
            problems.add(place / name, f"the same as {' or '.join(repr(s) for s in spellings(field) if s != name)}")
        else:
            seen[field.name] = _read_value(cls, field, value, place / name, problems)
    for field in settings(cls):
        if field.name in seen:
            continue
        if is_required(field) and not suggests(advice, spellings(field)[0]):
            seen[field.name] = _from_environment(field, place, problems)
        elif not is_required(field) and (text := os.environ.get(key_of(field).env or "")) is not None:
            seen[field.name] = _read_value(cls, field, _parsed(cls, field, text), place / spellings(field)[0], problems)
    return {name: value for name, value in seen.items() if value is not MISSING}


def _read_value(cls: type[Any], field: Field[Any], value: Any, place: Place, problems: Problems) -> Any:
    """The value of a field; MISSING if it is wrong."""
    annotation, how = types_of(cls)[field.name], key_of(field)
    if value is None and field.default_factory is not MISSING:
        return field.default_factory()  # a key with nothing below it
    if how.read is not None:
        return how.read(value, place, problems)
    nested = nested_class(annotation)
    if nested is not None and value is not None:
        result = read(nested, value, place, problems)
        return MISSING if result is None else result
    if typing.get_origin(annotation) is dict and isinstance(value, Mapping):
        texts = cast("Mapping[Any, Any]", value).items()
        value = {name: item for name, item in texts if is_text(place / name, problems)}
    result = convert(annotation, value, place, problems, secret=how.secret)
    if result is not MISSING and how.least is not None and result < how.least:
        problems.add(place, f"expected at least {how.least}, got {result}")
        return MISSING
    return result


def _from_environment(field: Field[Any], place: Place, problems: Problems) -> Any:
    name, how = spellings(field)[0], key_of(field)
    if how.env is None:
        problems.add(place, f"missing {name!r}")
        return MISSING
    if (value := os.environ.get(how.env)) is not None:
        return value
    problems.add(place, f"missing {name!r}; write it here, or set {how.env}")
    return MISSING


def _parsed(cls: type[Any], field: Field[Any], text: str) -> Any:
    """The value that a variable has for a field: text as it is, and JSON for everything else."""
    if str in typing.get_args(types_of(cls)[field.name]) or key_of(field).read is not None:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # which is the problem that is told


def convert(annotation: Any, value: Any, place: Place, problems: Problems, *, secret: bool = False) -> Any:
    """A value as an annotation wants it; MISSING if it is wrong."""
    try:
        return converter(annotation)(value)
    except ConversionError as e:
        problems.add_conversion(place, e, secret=secret)
    except ValueError as e:
        problems.add(place, f"expected {expectation(annotation)}: {e}")
    return MISSING


def is_mapping(data: Any, place: Place, problems: Problems) -> bool:
    """Whether data is a mapping; a problem if not."""
    return convert(dict, data, place, problems) is not MISSING


def unknown_key(place: Place, known: Iterable[str], problems: Problems, otherwise: str | None = None) -> str:
    """Complain of a key that means nothing; `otherwise` is the advice where nothing similar is known.

    Returns the advice.
    """
    if not is_text(place, problems):
        return ""
    names = list(known)
    advice = did_you_mean(str(place.path[-1]), names)
    if not advice:
        advice = f"; {otherwise}" if otherwise else f"; known here: {', '.join(names)}"
    problems.add(place, f"unknown key{advice}")
    return advice


def suggests(advice: str, name: str) -> bool:
    """Whether an advice was to write a name, which needs not be called missing then."""
    return f"did you mean {name!r}?" in advice


def is_text(place: Place, problems: Problems) -> bool:
    """Whether the last key of a place is text to YAML; a problem if not."""
    name = place.path[-1]
    if isinstance(name, str):
        return True
    written = place.mark.key_text if place.mark else None
    text = str(name) if written is None else written
    problems.add(place, f'YAML reads this key as {type(name).__name__}; write it as "{text}"')
    return False


def dump(value: Any) -> Any:
    """An object as plain data, without what has its default."""
    if hasattr(value, "dump"):
        return value.dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dump_values(value)
    if isinstance(value, Mapping):
        return {name: dump(item) for name, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [dump(item) for item in cast("list[Any]", value)]
    return value


def dump_values(value: Any) -> dict[str, Any]:
    """The fields of an object as plain data, without those that have their default."""
    fields = {field: getattr(value, field.name) for field in settings(value)}
    written = {field: item for field, item in fields.items() if key_of(field).always or item != _default(field)}
    return {spellings(field)[0]: dump(item) for field, item in written.items()}


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
