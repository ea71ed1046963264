"""A driver that takes values of every type and says what arrived."""

from __future__ import annotations

import datetime
import enum
import uuid
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from jumpstarter.driver import Driver, export
from pydantic import BaseModel


class Colour(enum.Enum):
    RED = "red"
    GREEN = 2


@dataclass
class Point:
    x: int
    y: float = 0.5


class Window(BaseModel):
    title: str
    size: tuple[int, int] = (1, 1)


class Taker(Driver):
    """Says what arrived."""

    @export
    def take_bool(self, value: bool) -> str:
        return repr(value)

    @export
    def take_int(self, value: int) -> str:
        return repr(value)

    @export
    def take_float(self, value: float) -> str:
        return repr(value)

    @export
    def take_str(self, value: str) -> str:
        return repr(value)

    @export
    def take_bytes(self, value: bytes) -> str:
        return repr(value)

    @export
    def take_uuid(self, value: uuid.UUID) -> str:
        return repr(value)

    @export
    def take_path(self, value: Path) -> str:
        return value.as_posix()

    @export
    def take_datetime(self, value: datetime.datetime) -> str:
        return value.isoformat()

    @export
    def take_date(self, value: datetime.date) -> str:
        return value.isoformat()

    @export
    def take_time(self, value: datetime.time) -> str:
        return value.isoformat()

    @export
    def take_timedelta(self, value: datetime.timedelta) -> str:
        return str(value)

    @export
    def take_decimal(self, value: Decimal) -> str:
        return str(value)

    @export
    def take_list(self, value: list[int]) -> str:
        return repr(value)

    @export
    def take_pair(self, value: tuple[int, str]) -> str:
        return repr(value)

    @export
    def take_tuple(self, value: tuple[int, ...]) -> str:
        return repr(value)

    @export
    def take_set(self, value: set[str]) -> str:
        return repr(sorted(value))

    @export
    def take_dict(self, value: dict[str, int]) -> str:
        return repr(dict(sorted(value.items())))

    @export
    def take_optional(self, value: int | None = 5) -> str:
        return repr(value)

    @export
    def take_optional_list(self, value: list[int] | None = None) -> str:
        return repr(value)

    @export
    def take_union(self, value: int | str) -> str:
        return repr(value)

    @export
    def take_literal(self, value: Literal["low", "high", 3]) -> str:
        return repr(value)

    @export
    def take_enum(self, value: Colour) -> str:
        return value.name

    @export
    def take_point(self, value: Point) -> str:
        return repr(value)

    @export
    def take_window(self, value: Window) -> str:
        return repr(value)

    @export
    def take_points(self, value: list[Point]) -> str:
        return repr(value)

    @export
    def take_nested(self, value: list[dict[str, Point | None]]) -> str:
        return repr(value)

    @export
    def take_any(self, value: Any) -> str:
        return repr(value)

    @export
    def take_several(self, first: int, second: list[int], third: int) -> str:
        return f"{first} {second} {third}"

    @export
    def take_variadic(self, first: int, *others: int, **more: int) -> str:
        return f"{first} {others} {dict(sorted(more.items()))}"

    @export
    def take_keyword(self, a: int = 1, *, b: int = 2, timeout: float = 3.0) -> str:
        return f"{a} {b} {timeout}"
