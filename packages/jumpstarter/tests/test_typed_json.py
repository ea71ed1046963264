"""Typed JSON as text: what reads it never fails but with a ValueError, and keeps to the limits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumpstarter.common.limits import MAX_DEPTH, MAX_NODES
from jumpstarter.common.typed import dump_arguments, dumps, load_arguments, loads
from pydantic import AnyUrl, SecretBytes, SecretStr


class Colour(Enum):
    RED = "red"
    LAMBDA = object()


@dataclass
class Point:
    x: int
    y: int = 0


class Plain:
    pass


CLASSES: dict[str, type] = {"m:Colour": Colour, "m:Point": Point, "m:Plain": Plain}
kinds = [
    *("int", "float", "str", "bytes", "uuid", "path", "decimal", "datetime", "date", "time", "timedelta"),
    *("tuple", "set", "frozenset", "dict", "enum", "object", "default", "secret", "unknown"),
]


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    tag: dict[str, st.SearchStrategy[Any]] = {"$": st.sampled_from(kinds) | inner, "v": inner}
    more: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(("n", "x", "zone", "fold", "offset"), inner)
    more["c"] = st.sampled_from(list(CLASSES)) | inner
    names = st.text(max_size=4) | st.sampled_from(["$", *more])
    tags = st.fixed_dictionaries(tag, optional=more)
    return st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner), tags)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(list(CLASSES))
anything: st.SearchStrategy[Any] = st.recursive(plain, containers, max_leaves=10)


def as_arguments(value: object) -> str:
    return json.dumps({"args": [value], "kwargs": value})


@settings(max_examples=1500, deadline=None)
@given(
    anything.map(json.dumps) | st.text() | anything.map(lambda value: json.dumps({"args": [value], "kwargs": value}))
)
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    for read in (loads, load_arguments):
        for resolve in (None, CLASSES.get):
            try:
                read(text, resolve)
            except ValueError as e:
                assert str(e)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        '{"$": []}',
        '{"$": "float", "v": "1"}',
        '{"$": "int", "v": 5}',
        '{"$": "set", "v": [[]]}',
        '{"$": "dict", "v": [[{}, 1]]}',
        '{"$": "dict", "v": [[1]]}',
        '{"$": "decimal", "v": "x"}',
        '{"$": "timedelta", "v": [1e300, 0, 0]}',
        '{"$": "bytes", "v": "!"}',
        '{"$": "enum", "c": 1, "v": 1}',
        '{"$": "object", "c": "m:Point", "v": []}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5000,
    ],
)
def test_what_is_no_typed_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text, CLASSES.get)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = (value,)
    return value


def test_nesting_has_the_same_limit_on_both_ends() -> None:
    assert loads(dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    args, _ = load_arguments(dump_arguments([nested(MAX_DEPTH)], {}))
    assert args == [nested(MAX_DEPTH)]
    with pytest.raises(ValueError, match="deeper than 64"):
        dumps(nested(MAX_DEPTH + 1))
    with pytest.raises(ValueError, match="deeper than 64"):
        loads("[" * 65 + "]" * 65)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="deeper than 64"):
        dumps(endless)


def test_the_number_of_parts_has_the_same_limit_on_both_ends() -> None:
    most: list[list[int]] = [[] for _ in range(MAX_NODES - 1)]
    assert loads(dumps(most)) == most
    with pytest.raises(ValueError, match="100000 parts"):
        dumps([*most, []])
    with pytest.raises(ValueError, match="100000 parts"):
        loads(json.dumps([*most, []]))
    assert len(loads(dumps(list(range(3 * MAX_NODES))))) == 3 * MAX_NODES  # plain items are no parts


@pytest.mark.parametrize("value", [object(), lambda: None, Point, [{"a": Plain()}], SecretBytes(b"x")])
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        dumps(value)


def test_integers_too_long_for_a_text_arrive() -> None:
    assert loads(dumps([10**5000, -(10**6000)])) == [10**5000, -(10**6000)]
    assert load_arguments(dump_arguments([10**5000], {}))[0] == [10**5000]


def test_objects_of_unknown_classes_become_plain() -> None:
    sent = [Colour.RED, Point(1, 2), {Colour.RED: 1}]
    assert loads(dumps(sent)) == ["red", {"x": 1, "y": 2}, {"red": 1}]


def test_a_member_without_a_value_that_can_be_sent_goes_by_name() -> None:
    assert loads(dumps(Colour.LAMBDA), lambda _: Colour) is Colour.LAMBDA


def test_an_object_of_another_release_of_its_class_is_restored_as_far_as_that_works() -> None:
    older = '{"$":"object","c":"m:Point","v":{"x":1}}'
    assert loads(older, CLASSES.get) == Point(1, 0)
    newer = '{"$":"object","c":"m:Point","v":{"x":1,"y":2,"z":3}}'
    assert loads(newer, CLASSES.get) == Point(1, 2)
    other = '{"$":"object","c":"m:Point","v":{"y":2}}'
    assert loads(other, CLASSES.get) == {"y": 2}


def test_only_enums_dataclasses_and_models_are_made() -> None:
    assert loads('{"$":"object","c":"m:Plain","v":{"x":1}}', CLASSES.get) == {"x": 1}
    assert loads('{"$":"enum","c":"m:Plain","v":1}', CLASSES.get) == 1
    assert loads('{"$":"enum","c":"m:Point","v":1}', CLASSES.get) == 1


def test_a_secret_stays_one() -> None:
    arrived = loads(dumps({"password": SecretStr("hunter2")}))
    assert arrived == {"password": SecretStr("hunter2")}
    assert "hunter2" not in repr(arrived)


def test_derived_classes_of_plain_ones_are_sent_as_those() -> None:
    class Text(str):
        def __str__(self) -> str:
            return "another"

    class Items(list[int]):
        pass

    arrived = loads(dumps([Text("a"), Items([1]), bytearray(b"\xff"), memoryview(b"x")]))
    assert arrived == ["a", [1], b"\xff", b"x"]
    assert [type(value) for value in arrived] == [str, list, bytes, bytes]


def test_what_only_pydantic_knows_travels_in_its_json_form() -> None:
    assert loads(dumps([AnyUrl("http://a/b"), UUID(int=5)])) == ["http://a/b", UUID(int=5)]
