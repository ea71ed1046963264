"""Values arrive as they were sent: our client and our exporter over a real socket, over all types, in every place."""

import math
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass, field, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from pathlib import Path
from typing import Any, Literal, Optional, Union, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jumpstarter.client import DriverClient
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export
from pydantic import BaseModel, ConfigDict, Field


class Colour(Enum):
    RED = "red"
    GREEN = "green"
    SIZED = (3, 4)


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Side(str, Enum):  # noqa: UP042 what drivers wrote before StrEnum
    HOST = "host"
    DUT = "dut"


class Rights(Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


@dataclass
class Board:
    name: str
    at: Point
    colour: Colour = Colour.RED
    tags: tuple[str, ...] = ()
    revisions: dict[int, date] = field(default_factory=dict[int, date])
    parent: Optional["Board"] = None


class Reading(BaseModel):
    model_config = ConfigDict(extra="allow")

    volts: float
    taken: datetime
    raw: bytes = b""
    channel: int = Field(default=1, alias="ch")


class Report(BaseModel):
    readings: list[Reading]
    levels: set[Level] = set()
    limits: dict[Side, Decimal] = {}


AnyValue = Union[Board, Report, Point, Reading, Colour, Level, Side, Rights]  # noqa: UP007 shown in both spellings


class Echo(Driver):
    """Gives back what it is given, in every way in which a driver can."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    @export  # pyright: ignore[reportUnknownArgumentType]
    def same(self, value):  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
        return value  # pyright: ignore[reportUnknownVariableType]

    @export
    async def same_async(self, *, value: Any) -> Any:
        return value

    @export
    def items(self, *values: Any) -> Generator[Any]:
        yield from values

    @export  # pyright: ignore[reportUnknownArgumentType]
    async def items_async(self, values):  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
        for value in values:  # pyright: ignore[reportUnknownVariableType]
            yield value

    @export
    def ints(self, value: list[int]) -> list[int]:
        return value

    @export
    def floats(self, value: list[float]) -> list[float]:
        return value

    @export
    def blobs(self, value: list[bytes]) -> list[bytes]:
        return value

    @export
    def strs(self, value: list[str]) -> list[str]:
        return value

    @export
    def uuids(self, value: list[UUID]) -> list[UUID]:
        return value

    @export
    def paths(self, value: list[Path]) -> list[Path]:
        return value

    @export
    def datetimes(self, value: list[datetime]) -> list[datetime]:
        return value

    @export
    def dates(self, value: list[date]) -> list[date]:
        return value

    @export
    def times(self, value: list[time]) -> list[time]:
        return value

    @export
    def timedeltas(self, value: list[timedelta]) -> list[timedelta]:
        return value

    @export
    def decimals(self, value: list[Decimal]) -> list[Decimal]:
        return value

    @export
    def colours(self, value: list[Colour]) -> list[Colour]:
        return value

    @export
    def sides(self, value: list[Side]) -> list[Side]:
        return value

    @export
    def rights(self, value: list[Rights]) -> list[Rights]:
        return value

    @export
    def boards(self, value: list[Board]) -> list[Board]:
        return value

    @export
    def reports(self, value: list[Report]) -> list[Report]:
        return value

    @export
    def optionals(self, value: list[int | None]) -> list[int | None]:
        return value

    @export
    def unions(self, value: list[int | float | str | bytes | Colour | Point | None]) -> Sequence[Any]:
        return value

    @export
    def literals(self, value: list[Literal["host", 2, True, Level.LOW]]) -> list[Literal["host", 2, True, Level.LOW]]:
        return value

    @export
    def mixtures(
        self, value: list[dict[tuple[int, Colour], set[Path] | frozenset[int]]]
    ) -> list[dict[tuple[int, Colour], set[Path] | frozenset[int]]]:
        return value

    @export
    def objects(self, value: list[AnyValue]) -> list[AnyValue]:
        return value

    @export
    async def boards_streamed(self, value: list[Board]) -> AsyncGenerator[Board]:
        for board in value:
            yield board


texts = st.text(st.characters(), max_size=20) | st.sampled_from(["\ud800", "a\x00b", "\ud83d\ude00", "😀", "", "$"])
ints = st.integers() | st.integers(-(10**600), 10**600) | st.sampled_from([2**53 + 1, -(2**63), 10**4000, 0])
floats = st.floats() | st.sampled_from([-0.0, 5e-324, 1.7976931348623157e308, 1e16])
zones = st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30)), timezone(timedelta(seconds=1)), None])
named_zones = st.sampled_from(["Europe/Berlin", "America/St_Johns"]).map(ZoneInfo)
datetimes = st.datetimes(timezones=zones) | st.datetimes(timezones=named_zones, allow_imaginary=False)
times = st.times() | st.times(timezones=zones)
decimals = st.decimals() | st.sampled_from([Decimal("1.50"), Decimal("-0"), Decimal("1E+999999"), Decimal("sNaN")])
paths = texts.map(lambda text: Path(text.replace("\x00", "")))
enums = st.sampled_from([*Colour, *Level, *Side, *Rights, Rights.READ | Rights.WRITE, Rights(0)])
points = st.builds(Point, floats, floats)
boards = st.recursive(
    st.builds(
        Board,
        texts,
        points,
        st.sampled_from(Colour),
        st.lists(texts, max_size=2).map(tuple),
        st.dictionaries(ints, st.dates(), max_size=2),
    ),
    lambda inner: st.builds(Board, texts, points, parent=inner),
    max_leaves=3,
)
utf8 = st.text(max_size=10)


def reading(volts: float, taken: datetime, raw: bytes, ch: int, more: dict[str, str]) -> Reading:
    return Reading(volts=volts, taken=taken, raw=raw, ch=ch, **more)


def like_a_tag(value: object) -> dict[str, object]:
    return {"$": "bytes", "v": value}


readings = st.builds(
    reading,
    floats,
    st.datetimes(timezones=zones),
    st.binary(max_size=9),
    ints,
    st.dictionaries(st.sampled_from(["note", "$"]), utf8, max_size=2),
)
reports = st.builds(
    Report,
    readings=st.lists(readings, max_size=2),
    levels=st.sets(st.sampled_from(Level)),
    limits=st.dictionaries(st.sampled_from(Side), st.decimals(allow_nan=False, allow_infinity=False), max_size=2),
)
objects = boards | reports | points | readings | enums

hashable = st.recursive(
    st.none() | st.booleans() | ints | texts | st.binary(max_size=9) | st.uuids() | st.dates() | enums | points,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
scalars = st.one_of(
    hashable, floats, datetimes, times, st.timedeltas(), decimals, paths, st.binary(max_size=50), objects
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(hashable, max_size=4),
        st.dictionaries(texts, inner, max_size=4),
        st.dictionaries(hashable, inner, max_size=4),
        inner.map(like_a_tag),
    ),
    max_leaves=8,
)

ANNOTATED: dict[str, st.SearchStrategy[Any]] = {
    "ints": ints,
    "floats": floats,
    "blobs": st.binary(max_size=300),
    "strs": texts,
    "uuids": st.uuids(),
    "paths": paths,
    "datetimes": datetimes,
    "dates": st.dates(),
    "times": times,
    "timedeltas": st.timedeltas(),
    "decimals": decimals,
    "colours": st.sampled_from(Colour),
    "sides": st.sampled_from(Side),
    "rights": st.sampled_from([*Rights, Rights(3), Rights(0)]),
    "boards": boards,
    "reports": reports,
    "optionals": st.none() | ints,
    "unions": st.one_of(ints, floats, texts, st.binary(max_size=9), st.none(), st.sampled_from(Colour), points),
    "literals": st.sampled_from(["host", 2, True, Level.LOW]),
    "mixtures": st.dictionaries(
        st.tuples(ints, st.sampled_from(Colour)),
        st.sets(paths, max_size=2) | st.frozensets(ints, max_size=3),
        max_size=3,
    ),
    "objects": objects,
}


@pytest.fixture(scope="module")
def client() -> Generator[DriverClient]:
    with serve(Echo()) as client:
        yield client


def canonical(value: Any) -> str:
    """A text of what can be in a set, in which the order of a set is always the same."""
    match value:
        case set() | frozenset():
            return f"{type(value).__name__}({sorted(map(canonical, value))})"  # pyright: ignore[reportUnknownArgumentType]
        case tuple():
            return f"({', '.join(map(canonical, value))})"  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return f"{type(value).__name__} {value!r}"


def assert_same(sent: Any, arrived: Any) -> None:
    """The same type and value all the way down; NaN is NaN, and -0.0 is not 0.0."""
    assert type(arrived) is type(sent), (sent, arrived)
    match sent:
        case float():
            assert (math.isnan(sent) and math.isnan(arrived)) or repr(sent) == repr(arrived)
        case Decimal():
            assert str(sent) == str(arrived)
        case Enum():
            assert sent is arrived
        case list() | tuple():
            assert len(cast("list[Any]", sent)) == len(arrived)
            for a, b in zip(cast("list[Any]", sent), arrived, strict=True):
                assert_same(a, b)
        case dict():
            assert_same(list(cast("dict[Any, Any]", sent)), list(arrived))  # order counts
            assert_same(list(cast("dict[Any, Any]", sent).values()), list(arrived.values()))
        case set() | frozenset():
            assert canonical(sent) == canonical(arrived)
        case datetime() | time():
            assert sent == arrived
            assert (sent.replace(tzinfo=None), sent.fold, sent.utcoffset()) == (
                arrived.replace(tzinfo=None),
                arrived.fold,
                arrived.utcoffset(),
            )
        case BaseModel():
            assert_same(sent.__dict__, arrived.__dict__)
            assert sent.model_extra == arrived.model_extra
        case _ if is_dataclass(sent):
            assert_same(vars(sent), vars(arrived))
        case _:
            assert sent == arrived


LARGE = {"boards": 10, "reports": 5, "objects": 10, "mixtures": 15}
"""How many go into one call of those that hypothesis takes long to make."""

few = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.generate],
)
compared: Counter[str] = Counter()


def assert_all_same(place: str, sent: list[Any], arrived: list[Any]) -> None:
    assert_same(sent, arrived)
    compared[place] += len(sent)


@pytest.mark.parametrize("method", ANNOTATED)
def test_values_of_annotated_types_arrive_as_sent(client: DriverClient, method: str) -> None:
    size = LARGE.get(method, 50)

    @few
    @given(st.lists(ANNOTATED[method], min_size=size, max_size=size))
    def check(batch: list[Any]) -> None:
        assert_all_same(method, batch, client.call(method, batch))

    check()


@pytest.mark.parametrize("place", ["argument", "by name", "items", "items, async", "one by one"])
def test_values_of_any_type_arrive_as_sent_where_nothing_is_annotated(client: DriverClient, place: str) -> None:
    def sent_and_back(batch: list[Any]) -> list[Any]:
        match place:
            case "argument":
                return client.call("same", batch)
            case "by name":
                return client.call("same_async", value=batch)
            case "items":
                return list(client.streamingcall("items", *batch))
            case "items, async":
                return list(client.streamingcall("items_async", batch))
            case _:
                return [client.call("same", value) for value in batch]

    @few
    @given(st.lists(values, min_size=20, max_size=20))
    def check(batch: list[Any]) -> None:
        assert_all_same(place, batch, sent_and_back(batch))

    check()


@few
@given(batch=st.lists(boards, min_size=10, max_size=10))
def test_streamed_objects_arrive_as_sent(client: DriverClient, batch: list[Board]) -> None:
    assert_all_same("boards_streamed", batch, list(client.streamingcall("boards_streamed", value=batch)))


def test_ten_thousand_values_were_compared() -> None:
    if len(compared) < len(ANNOTATED) + 6:
        pytest.skip("not all of the tests above have run")
    assert compared.total() > 10_000
