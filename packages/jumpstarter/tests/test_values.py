"""The public wire form of values: what a peer of any implementation sends and sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.common.limits import MAX_DEPTH
from jumpstarter.common.values import decode_value, encode_value
from pydantic import BaseModel

plain = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(plain)
def test_plain_values_arrive_as_they_were_sent(value: Any) -> None:
    wire = Value.FromString(encode_value(value).SerializeToString())
    assert decode_value(wire) == value


@given(st.integers(-(2**53), 2**53))
def test_an_integer_arrives_as_a_float_of_the_same_value(value: int) -> None:
    arrived = decode_value(encode_value(value))
    assert isinstance(arrived, float)
    assert arrived == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json_becomes_null(value: float) -> None:
    assert decode_value(encode_value(value)) is None


def test_an_unset_value_is_none() -> None:
    assert decode_value(Value()) is None


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    y: float


class Reading(BaseModel):
    volts: float


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ((1.0, 2.0), [1.0, 2.0]),
        ({"a"}, ["a"]),
        ([], []),
        ({}, {}),
        ({"empty": {}, "none": []}, {"empty": {}, "none": []}),
        ({2: "a", None: "b", True: "c", Colour.RED: "d"}, {"2": "a", "None": "b", "true": "c", "red": "d"}),
        (b"text", "text"),
        (bytearray(b"text"), "text"),
        (Colour.RED, "red"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Path("/dev/sda"), "/dev/sda"),
        (Decimal("1.50"), "1.50"),
        (datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), "2020-01-02T03:04:05Z"),
        (date(2020, 1, 2), "2020-01-02"),
        (timedelta(seconds=90), "PT1M30S"),
        (Point(1, 2), {"x": 1.0, "y": 2.0}),
        (Reading(volts=5), {"volts": 5.0}),
        ([Reading(volts=5), (Colour.RED,)], [{"volts": 5.0}, ["red"]]),
    ],
)
def test_other_types_arrive_in_their_json_form(value: object, arrives: object) -> None:
    assert decode_value(encode_value(value)) == arrives


@pytest.mark.parametrize("value", [b"\xff\xfe", object(), lambda: None, 10**400, {(1, 2): "tuple key"}])
def test_what_cannot_be_sent_is_refused_before_sending(value: object) -> None:
    with pytest.raises(ValueError):
        encode_value(value)


def test_nesting_has_a_limit() -> None:
    value: list[Any] = []
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(ValueError, match="nests deeper than 64"):
        encode_value(value)
