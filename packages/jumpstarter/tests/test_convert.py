"""Conversion of plain values by annotation."""

import enum
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NewType, TypeVar, Union
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.common.convert import ConversionError, converter, expectation, resolved_annotations
from pydantic import BaseModel, BeforeValidator, Field

if TYPE_CHECKING:
    from decimal import Decimal

    from nowhere import Missing  # pyright: ignore[reportMissingImports, reportUnknownVariableType] what is tested


class Side(enum.Enum):
    HOST = "host"
    DUT = "dut"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Point(BaseModel):
    x: int
    y: int = 0


@dataclass
class Range:
    low: int
    high: int


class Opaque:
    pass


Volts = NewType("Volts", float)
Bound = TypeVar("Bound", bound=int)


class Crossed(enum.Enum):
    A = "B"
    B = "A"


UNIQUE = UUID("3f0a1d9e-54e6-4d0c-9d0b-7a5f2e0c8b16")


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, 5, 5),
        (int, 5.0, 5),
        (float, 5, 5.0),
        (bool, True, True),
        (str, "5", "5"),
        (None, None, None),
        (Any, [1, "x"], [1, "x"]),
        (object, {"a": 1}, {"a": 1}),
        (bytes, "text", b"text"),
        (bytes, b"\xff", b"\xff"),
        (Path, "/dev/null", Path("/dev/null")),
        (UUID, str(UNIQUE), UNIQUE),
        (list, [1, "x"], [1, "x"]),
        (list[int], [1.0, 2], [1, 2]),
        (tuple[int, ...], [1.0], (1,)),
        (tuple[int, str], [1.0, "a"], (1, "a")),
        (set[str], ["a", "a"], {"a"}),
        (frozenset[int], [1.0], frozenset({1})),
        (Sequence[int], (1.0,), [1]),
        (Iterable[Path], ["a"], [Path("a")]),
        (dict[str, int], {"a": 1.0}, {"a": 1}),
        (dict[int, str], {"1": "a", "-2": "b"}, {1: "a", -2: "b"}),
        (Mapping[str, Any], {"a": [1.0]}, {"a": [1.0]}),
        (int | None, None, None),
        (int | None, 5.0, 5),
        (int | float, 5.0, 5.0),
        (int | str, "5", "5"),
        (str | list[str], ["a"], ["a"]),
        (Path | str, "a", "a"),
        (Literal["host", "dut"], "dut", "dut"),
        (Literal[1, 2], 2.0, 2),
        (Literal[Side.HOST], "host", Side.HOST),
        (Side, "host", Side.HOST),
        (Side, "HOST", Side.HOST),
        (Crossed, "A", Crossed.B),  # the value counts before the name
        (Side, Side.DUT, Side.DUT),
        (Level, 2.0, Level.HIGH),
        (Rights, 3.0, Rights.READ | Rights.WRITE),
        (Volts, 3, 3.0),
        (Bound, 3.0, 3),
        (Final[int], 3.0, 3),
        (Annotated[int, "just words"], 3.0, 3),
        (Annotated[int, Field(ge=1)], 3.0, 3),
        (Annotated[list[str], BeforeValidator(str.split)], "a b", ["a", "b"]),
        (timedelta, "PT90S", timedelta(seconds=90)),
        (Point, {"x": 1.0}, Point(x=1)),
        (Range, {"low": 1, "high": 2}, Range(1, 2)),
        (list[Point], [{"x": 1}], [Point(x=1)]),
        ("NotResolved", {"any": "thing"}, {"any": "thing"}),
    ],
)
def test_a_plain_value_becomes_what_the_annotation_says(annotation: Any, value: object, expected: object) -> None:
    result = converter(annotation)(value)
    assert (type(result), result) == (type(expected), expected)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, "abc", "expected int, got 'abc' (str)"),
        (int, "80", "expected int, got '80' (str); write it without quotes"),
        (int, True, "expected int, got True (bool)"),
        (int, 1.5, "expected int, got 1.5 (float)"),
        (int, float("inf"), "expected int, got inf (float)"),
        (float, False, "expected float, got False (bool)"),
        (float, "1.5", "expected float, got '1.5' (str); write it without quotes"),
        (bool, 1, "expected bool, got 1 (int)"),
        (str, 8080, 'expected str, got 8080 (int); write it as "8080"'),
        (str, None, "expected str, got nothing (null)"),
        (str, True, "expected str, got True (bool)"),
        (Path, ["a"], "expected a path, got ['a'] (list)"),
        (UUID, "a", "expected UUID, got 'a' (str)"),
        (None, 1, "expected nothing (null), got 1 (int)"),
        (list[int], "12", "expected list of int, got '12' (str)"),
        (list[int], [1, 2, "x"], "item 2: expected int, got 'x' (str)"),
        (dict[str, list[int]], {"a": [1, None]}, "key 'a': item 1: expected int, got nothing (null)"),
        (dict[str, int], [], "expected mapping of str to int, got [] (list)"),
        (set[Any], [[1]], "expected set, got [[1]] (list)"),
        (tuple[int, str], [1], "expected list of 2 (int, str), got [1] (list)"),
        (tuple[int, str], [1, 2], 'item 1: expected str, got 2 (int); write it as "2"'),
        (int | None, "x", "expected int or nothing (null), got 'x' (str)"),
        (str | list[int], ["a"], "item 0: expected int, got 'a' (str)"),
        (Literal["host", "dut"], "hots", "expected 'host' or 'dut', got 'hots' (str); did you mean 'host'?"),
        (Literal[1, 2], True, "expected 1 or 2, got True (bool)"),
        (Side, "Dut", "expected 'host' or 'dut', got 'Dut' (str); did you mean 'dut'?"),
        (Level, True, "expected 1 or 2, got True (bool)"),
        (Annotated[int, Field(ge=1)], 0, "should be greater than or equal to 1, got 0 (int)"),
        (Annotated[int, Field(ge=1)], True, "expected int, got True (bool)"),
        (Point, {"x": "a"}, "key 'x': should be a valid integer, unable to parse string as an integer, got 'a' (str)"),
        (Opaque, "x", "should be an instance of Opaque, got 'x' (str)"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(
    annotation: Any, value: object, message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        converter(annotation)(value)
    assert str(caught.value) == message


def test_instances_of_the_annotated_class_pass_as_they_are() -> None:
    value = Opaque()
    assert converter(Opaque)(value) is value
    assert converter(dict[str, Opaque])({"a": value}) == {"a": value}


def test_a_long_value_is_shortened_and_stays_on_one_line() -> None:
    with pytest.raises(ConversionError) as caught:
        converter(int)("long\n" * 1000)
    assert len(str(caught.value)) < 120
    assert "\n" not in str(caught.value)


def test_what_was_expected_can_be_asked_for() -> None:
    assert expectation(list[str]) == "list of str"
    assert expectation(Literal["host", "dut"]) == "'host' or 'dut'"


def test_members_of_a_union_are_tried_in_their_order() -> None:
    text = str(UNIQUE)
    assert converter(Path | UUID)(text) == Path(text)
    assert converter(UUID | Path)(text) == UNIQUE


def test_plain_types_need_no_pydantic() -> None:
    program = """
import json, sys
from jumpstarter.common.convert import converter
from pathlib import Path
from typing import Literal
for annotation, value in [
    (dict[str, list[int] | None], {"a": [1.0]}), (Literal["a"], "a"), (Path, "a"), (tuple[bool, ...], [True]),
]:
    converter(annotation)(value)
print(json.dumps([name for name in ("pydantic", "yaml", "anyio", "rich") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def sample(value: "int", amount: "Decimal", missing: "Missing", plain: str) -> None:  # pyright: ignore[reportUnknownParameterType]
    """Has annotations that only a type checker can resolve."""


@dataclass
class Sample:
    """The same as a class."""

    value: "int"
    missing: "Missing"  # pyright: ignore[reportUnknownVariableType]


@dataclass
class Derived(Sample):
    """Has fields of its base."""

    more: "list[str]"


def test_annotations_that_cannot_be_resolved_are_left_out() -> None:
    assert resolved_annotations(sample) == {"value": int, "plain": str, "return": type(None)}
    assert resolved_annotations(Derived) == {"value": int, "more": list[str]}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
annotations = st.recursive(
    st.sampled_from([bool, int, float, str, bytes, None, Any, Path, UUID, Side, Level, Literal["a", 1, True]]),
    lambda inner: (
        inner.map(lambda item: list[item])
        | inner.map(lambda item: dict[str, item])
        | inner.map(lambda item: tuple[item, ...])
        | st.tuples(inner, inner).map(lambda pair: tuple[pair[0], pair[1]])
        | st.tuples(inner, inner).map(lambda pair: Union[pair[0], pair[1]])  # noqa: UP007 of values, not of types
    ),
    max_leaves=4,
)


@given(annotations, plain)
def test_any_value_converts_or_is_refused_with_one_line(annotation: Any, value: object) -> None:
    try:
        converted = converter(annotation)(value)
    except ConversionError as e:
        assert "\n" not in str(e)
        return
    again = converter(annotation)(converted)
    assert repr(again) == repr(converted)  # NaN is not equal to itself
