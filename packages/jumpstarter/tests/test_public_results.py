"""Client classes that were written for the public release get results as they do there, unless they want objects."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.client import DriverClient
from jumpstarter.client.core import DriverInvalidArgument
from jumpstarter.common.utils import serve
from jumpstarter.common.values import decode_value, encode_value, public_shape
from jumpstarter.driver import Driver, export
from pydantic import BaseModel, computed_field


class Mode(Enum):
    FAST = "fast"


@dataclass
class Point:
    x: int
    y: float


class Reading(BaseModel):
    volts: float
    at: datetime

    @computed_field
    @property
    def millivolts(self) -> float:
        return self.volts * 1000


VALUES: dict[str, Any] = {
    "model": Reading(volts=1.5, at=datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
    "dataclass": Point(1, 2.0),
    "enum": Mode.FAST,
    "uuid": uuid.UUID(int=7),
    "path": Path("/dev/null"),
    "span": timedelta(minutes=1, seconds=30),
    "text bytes": b"text",
    "nested": {"point": [Point(1, 2.0)], "mode": (Mode.FAST, {1: {"x"}})},
    "keys": {1: "a", Mode.FAST: "b", None: "c"},
    "plain": {"a": [1.0, "x", None, True]},
}


class Meter(Driver):
    """Returns whatever there is."""

    @export
    def get(self, kind: str) -> Any:
        return VALUES[kind]

    @export
    def items(self) -> Iterator[Any]:
        yield from VALUES.values()

    @export
    def raw(self) -> bytes:
        return b"\xff"

    @export
    def add(self, a: int, b: int) -> int:
        return a + b

    @export
    def point(self) -> Point:
        return Point(1, 2.0)


class ForeignMeter(Meter):
    @classmethod
    def client(cls) -> str:
        return f"{__name__}.ForeignClient"


class TypedMeter(Meter):
    @classmethod
    def client(cls) -> str:
        return f"{__name__}.TypedClient"


class PlainMeter(Meter):
    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"


class ForeignClient(DriverClient):
    """As third parties write them."""

    def volts(self) -> float:
        return self.call("get", "model")["volts"]


class TypedClient(ForeignClient):
    """One that wants objects."""

    typed_results = True


@pytest.mark.parametrize("kind", VALUES)
def test_a_foreign_class_gets_the_public_shape(kind: str) -> None:
    expected = decode_value(encode_value(VALUES[kind]))
    assert public_shape(VALUES[kind]) == expected
    with serve(ForeignMeter()) as client:
        assert client.call("get", kind) == expected
        assert client.portal.call(client.call_async, "get", kind) == expected


def test_a_foreign_class_gets_items_of_the_public_shape() -> None:
    with serve(ForeignMeter()) as client:
        assert isinstance(client, ForeignClient)
        assert list(client.streamingcall("items")) == [decode_value(encode_value(value)) for value in VALUES.values()]
        assert client.volts() == 1.5
        with pytest.raises(DriverInvalidArgument):
            client.call("raw")


def test_a_foreign_class_has_whole_numbers_and_arguments_by_name() -> None:
    with serve(ForeignMeter()) as client:
        found = client.call("add", 2**60, b=1)
        assert (found, type(found)) == (2**60 + 1, int)


@pytest.mark.parametrize("driver", [TypedMeter, PlainMeter, Meter])
def test_classes_of_ours_and_those_that_want_it_get_what_was_returned(driver: type[Meter]) -> None:
    with serve(driver()) as client:
        assert client.call("point") == Point(1, 2.0)
        assert client.call("raw") == b"\xff"
        assert client.call("get", "uuid") == uuid.UUID(int=7)


def test_what_is_described_has_its_types_whatever_the_class() -> None:
    from jumpstarter.client.described import method_of

    with serve(ForeignMeter()) as client:
        point = method_of(client, "point")
        assert point is not None
        assert point() == Point(1, 2.0)
