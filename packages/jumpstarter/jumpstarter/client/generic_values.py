"""What a user types on a command line, as values of the types in a report."""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from uuid import UUID

from ..common.suggest import did_you_mean
from ..common.text import one_line
from .descriptors import choices_of, members_of, rule_of, text_of

NEGATIVE = re.compile(r"-(\d|\.\d|inf\b|nan\b)")
"""An argument that looks like an option and is a number."""

GUARD = "\ue000"
"""Put before such an argument, so that click takes it for none."""

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


class _Anything:
    """The type of a parameter that has none."""

    kind = "any"
    items: tuple[Any, ...] = ()
    choices: tuple[str, ...] = ()
    fields: tuple[Any, ...] = ()


ANY = _Anything()


def metavar(described: Any) -> str:
    """What help shows in place of a value."""
    kind: str = described.kind
    texts = choice_texts(described)
    if texts and sum(map(len, texts)) <= 60:
        return f"[{'|'.join(texts)}]"
    match kind:
        case "any" | "":
            return "VALUE"
        case "str" | "secret":
            return "TEXT"
        case "bytes":
            return "HEX|@FILE|-"
        case "timedelta":
            return "SECONDS"
        case "dict" | "object":
            return "KEY=VALUE|JSON"
        case "enum" | "literal":
            return "CHOICE"
        case "union":
            members = dict.fromkeys(metavar(member) for member in described.items if member.kind != "none")
            return "|".join(members)[:60] or "VALUE"
        case "tuple" if described.items and not described.variadic:
            return " ".join(metavar(item) for item in described.items)
        case "list" | "tuple" | "set" | "frozenset":
            return metavar(described.items[0]) if described.items else "VALUE"
        case _:
            return one_line(kind).upper()[:20]


def choice_texts(described: Any) -> list[str]:
    """The texts that an enum, literal or bool can be given as."""
    match described.kind:
        case "enum":
            return [name for name, _ in members_of(described)]
        case "literal":
            return [one_line(_choice_text(choice)) for choice in choices_of(described)]
        case "bool":
            return ["true", "false"]
        case _:
            return []


def _choice_text(choice: Any) -> str:
    return json.dumps(choice) if choice is None or isinstance(choice, bool) else str(choice)


def parse(described: Any, text: str) -> Any:
    """The value of a text; ValueError says what is expected."""
    value = _parse(described, text)
    rule_of(described).convert(value)
    return value


def _parse(described: Any, text: str) -> Any:
    kind: str = described.kind
    if kind in _PARSERS:
        return _PARSERS[kind](text)
    match kind:
        case "literal":
            return _choice(text, {_choice_text(choice): choice for choice in choices_of(described)})
        case "enum":
            members = members_of(described)
            return _choice(text, {**{_choice_text(value): value for _, value in members}, **dict(members)}, members)
        case "union":
            return _one_of(list(described.items), text)
        case "list" | "tuple" | "set" | "frozenset":
            return _json(text, list, f"a JSON list for {text_of(described)}")
        case "dict" | "object":
            return mapping(described, [text])
        case _:
            return _any(text)


def mapping(described: Any, texts: list[str], value_type: Any = ANY) -> dict[Any, Any]:
    """A mapping from JSON objects and `KEY=VALUE` pairs, later ones over earlier.

    `value_type` is for what does not say by itself of what type the values are.
    """
    fields = {field.name: field.type for field in described.fields}
    pair = list(described.items) if described.kind == "dict" and len(described.items) == 2 else [ANY, value_type]
    result: dict[Any, Any] = {}
    for text in texts:
        if text.lstrip().startswith("{"):
            result |= _json(text, dict, "a JSON object")
            continue
        key, mark, value = text.partition("=")
        if not mark:
            raise ValueError(f"expected KEY=VALUE or a JSON object, got {_got(text)}")
        if fields and key not in fields:
            raise ValueError(f"{name_with_fields(described, fields)} has no field {key!r}{did_you_mean(key, fields)}")
        result[key if fields or pair[0].kind == "any" else _parse(pair[0], key)] = _parse(
            fields.get(key, pair[1]), value
        )
    return result


def name_with_fields(described: Any, fields: dict[str, Any]) -> str:
    """An object's type with the names of its fields."""
    return f"{text_of(described)} ({', '.join(list(fields)[:20])})"


def _got(text: str) -> str:
    """What was typed, in an error: not too long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _choice(text: str, choices: dict[str, Any], members: list[tuple[str, Any]] | None = None) -> Any:
    if text in choices:
        return choices[text]
    folded = {choice.casefold(): value for choice, value in choices.items()}
    if text.casefold() in folded:
        return folded[text.casefold()]
    names = [name for name, _ in members] if members is not None else list(choices)
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise ValueError(f"{_got(text)} is not one of {listed}{did_you_mean(text, names)}")


def _one_of(members: list[Any], text: str) -> Any:
    """The first member that takes the text; those that take any text come last."""
    vague = ("str", "any", "secret", "path", "")
    problems: list[str] = []
    if any(member.kind == "str" for member in members):  # then null is a text
        members = [member for member in members if member.kind != "none"]
    for member in sorted(members, key=lambda member: vague.index(member.kind) + 1 if member.kind in vague else 0):
        try:
            return parse(member, text)
        except ValueError as e:
            problems.append(str(e))
    raise ValueError("; ".join(dict.fromkeys(problems)))


def _json(text: str, kind: type, expected: str) -> Any:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"expected {expected}, got {_got(text)}: {e}") from None
    if not isinstance(value, kind):
        raise ValueError(f"expected {expected}, got {_got(text)}")
    return value


def _any(text: str) -> Any:
    """JSON, or else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _none(text: str) -> None:
    if text.lower() not in ("null", "none"):
        raise ValueError(f"expected null, got {_got(text)}")


def _bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"expected true or false, got {_got(text)}")


def _int(text: str) -> int:
    for base in (10, 0):  # 010 is ten, 0x10 sixteen
        try:
            return int(text, base)
        except ValueError:
            continue
    raise ValueError(f"expected an integer, such as 16 or 0x10, got {_got(text)}")


def _bytes(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as e:
            raise ValueError(f"cannot read {text[1:]}: {e.strerror or e}") from e
    try:
        return bytes.fromhex(text.removeprefix("0x").replace(":", " "))
    except ValueError:
        raise ValueError(
            f"expected bytes in hexadecimal (de ad be ef), @FILE, or - for standard input, got {_got(text)}"
        ) from None


def _timedelta(text: str) -> datetime.timedelta:
    match = _DURATION.fullmatch(text)
    try:
        if match is not None and text:
            days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
            return datetime.timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return datetime.timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        raise ValueError(f"expected seconds, or a time such as 1h30m, got {_got(text)}") from None


def _expecting(what: str, make: Callable[[str], Any]) -> Callable[[str], Any]:
    def parsed(text: str) -> Any:
        try:
            return make(text)
        except (ValueError, InvalidOperation):
            raise ValueError(f"expected {what}, got {_got(text)}") from None

    return parsed


_PARSERS: dict[str, Callable[[str], Any]] = {
    "none": _none,
    "bool": _bool,
    "int": _int,
    "float": _expecting("a number", float),
    "str": str,
    "secret": str,
    "path": Path,
    "bytes": _bytes,
    "uuid": _expecting("a UUID", UUID),
    "decimal": _expecting("a decimal number", Decimal),
    "datetime": _expecting("a date and time, such as 2030-01-31T12:00", datetime.datetime.fromisoformat),
    "date": _expecting("a date, such as 2030-01-31", datetime.date.fromisoformat),
    "time": _expecting("a time of the day, such as 12:30", datetime.time.fromisoformat),
    "timedelta": _timedelta,
}
