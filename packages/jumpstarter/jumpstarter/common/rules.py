"""Rules made of rules: unions, literals, enums, collections and mappings of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, cast

from .scalars import PASS, SCALARS, ConversionError, Rule, fail
from .suggest import did_you_mean


def union_rule(members: list[Rule]) -> Rule:
    """What one of several rules takes."""
    expected = _either(list(dict.fromkeys(rule.expected for rule in members)))
    converters = [rule.convert for rule in members]

    def convert(value: Any) -> Any:
        """The member that takes the value unchanged, else the first that can convert it."""
        converted: list[Any] = []
        errors: list[ConversionError] = []
        for member in converters:
            try:
                result = member(value)
            except ConversionError as e:
                errors.append(e)
            else:
                if type(result) is type(value):
                    return result
                converted.append(result)
        if converted:
            return converted[0]
        inside = [e for e in errors if e.path]
        if len(inside) == 1:  # the one member whose container fits tells more
            raise inside[0]
        return fail(expected, value, next((e.hint for e in errors if e.hint), ""))

    return Rule(expected, convert)


def literal_rule(choices: tuple[Any, ...]) -> Rule:
    """One of some values."""
    expected = _either([repr(_plain(choice)) for choice in choices])

    def convert(value: Any) -> Any:
        for choice in choices:
            if choice is value or _same(_plain(choice), value):
                return choice
        return fail(expected, value, _similar(value, choices))

    return Rule(expected, convert)


def enum_rule(enum: type[Enum]) -> Rule:
    """A member of an enum, by its value or name."""
    expected = _either([repr(member.value) for member in enum])

    def convert(value: Any) -> Any:
        if isinstance(value, enum):
            return value
        for member in enum:
            if _same(member.value, value):
                return member
        if isinstance(value, str) and value in enum.__members__:
            return enum[value]
        if not isinstance(value, bool):
            try:  # flags, and classes that know other spellings
                return enum(int(value) if isinstance(value, float) and value.is_integer() else value)
            except (ValueError, TypeError, KeyError):
                pass
        return fail(expected, value, _similar(value, enum))

    return Rule(expected, convert)


def _plain(choice: Any) -> Any:
    return choice.value if isinstance(choice, Enum) else choice


def _same(choice: object, value: object) -> bool:
    """Equal, and a bool only equal to a bool."""
    return isinstance(choice, bool) == isinstance(value, bool) and choice == value


def _similar(value: object, choices: Iterable[Any]) -> str:
    texts = [text for choice in choices if isinstance(text := _plain(choice), str)]
    return did_you_mean(value, texts) if isinstance(value, str) else ""


def collection_rule(build: Callable[[Iterable[Any]], Any], item: Rule) -> Rule:
    """A list as a list, tuple or set of converted items."""
    kind = getattr(build, "__name__", "list")
    expected = f"{kind} of {item.expected}" if item is not PASS else kind
    accepted = (list, tuple, set, frozenset) if kind in ("set", "frozenset") else (list, tuple)

    def convert(value: Any) -> Any:
        if not isinstance(value, accepted):
            fail(expected, value)
        items = _converted_items(item, cast("Iterable[Any]", value))
        try:
            return items if build is list else build(items)
        except TypeError:  # an item that cannot be hashed
            return fail(expected, cast("Any", value))

    return Rule(expected, convert)


def _converted_items(rule: Rule, values: Iterable[Any]) -> list[Any]:
    if _fits(rule, values):
        return list(values)
    convert = rule.convert
    items: list[Any] = []
    for index, value in enumerate(values):
        try:
            items.append(convert(value))
        except ConversionError as e:
            raise e.below(index) from None
    return items


def fixed_tuple_rule(members: list[Rule]) -> Rule:
    """A list of so many items, each with a rule of its own."""
    expected = f"list of {len(members)} ({', '.join(rule.expected for rule in members)})"

    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            fail(expected, value)
        values = cast("list[Any]", value)
        if len(values) != len(members):
            fail(expected, values)
        return tuple(_converted_items(Rule(expected, _convert_pair), list(zip(members, values, strict=True))))

    return Rule(expected, convert)


def _fits(rule: Rule, values: Iterable[Any]) -> bool:
    """Whether a rule leaves all values as they are, as far as that can be told at once."""
    return rule is PASS or (rule.exact is not None and {rule.exact}.issuperset(map(type, values)))


def _convert_pair(pair: tuple[Rule, Any]) -> Any:
    return pair[0].convert(pair[1])


def mapping_rule(key: Rule, item: Rule) -> Rule:
    """A mapping as a dict of converted keys and values."""
    convert_key = _int_key if key.convert is SCALARS[int] else key.convert
    expected = "mapping" if item is PASS else f"mapping of {key.expected} to {item.expected}"

    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            fail(expected, value)
        mapping = cast("Mapping[Any, Any]", value)
        if _fits(key, mapping) and _fits(item, mapping.values()):
            return dict(mapping)
        converted: dict[Any, Any] = {}
        for name, content in mapping.items():
            try:
                converted[convert_key(name)] = item.convert(content)
            except ConversionError as e:
                raise e.below(name) from None
        return converted

    return Rule(expected, convert)


def _int_key(key: Any) -> int:
    """An integer key; the wire has all keys as text."""
    if isinstance(key, str) and key.removeprefix("-").isdecimal() and len(key) < 40:
        return int(key)
    return SCALARS[int](key)


def _either(names: list[str]) -> str:
    if len(names) > 12:
        names = [*names[:12], "..."]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
