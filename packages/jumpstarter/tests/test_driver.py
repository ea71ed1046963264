"""What an author of a driver relies on, without a wire."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import pydantic
import pytest
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.driver.table import exported_methods


class Base(Driver):
    """The least that a driver is."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    @export
    def on(self) -> None: ...

    @export
    async def off(self) -> None: ...

    @export
    def read(self) -> Generator[int]:
        yield 1

    def helper(self) -> None: ...


@dataclass(kw_only=True)
class Plain(Base):
    port: int = 1
    name: str = "plain"  # pyright: ignore[reportIncompatibleVariableOverride, reportAssignmentType] as drivers in the field do

    @export
    def on(self, force: bool = False) -> None: ...

    def off(self) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride] not marked: no longer exported


@pydantic.dataclasses.dataclass(kw_only=True)
class Validated(Base):
    port: int


@dataclass(kw_only=True)
class Parent(Base):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.children["lamp"] = Base()


@dataclass(kw_only=True)
class Guarded(Base):
    closed: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        if hasattr(super(), "__post_init__"):
            super().__post_init__()

    def close(self) -> None:
        self.closed.append("closed")


class Broken(Base):
    def close(self) -> None:
        raise OSError("stuck")


def test_the_table_has_the_marked_methods_with_their_kinds() -> None:
    assert {name: method.kind for name, method in exported_methods(Base).items()} == {
        "on": "call",
        "off": "call",
        "read": "streamingcall",
    }


def test_an_override_without_a_mark_is_not_exported() -> None:
    assert set(exported_methods(Plain)) == {"on", "read"}


def test_only_functions_can_be_exported() -> None:
    with pytest.raises(ValueError, match="only a function"):
        export(5)  # pyright: ignore[reportArgumentType]


def test_a_stream_has_its_own_mark() -> None:
    class Streaming(Base):
        @exportstream
        def connect(self) -> Any: ...

    assert exported_methods(Streaming)["connect"].kind == "stream"


def test_a_driver_of_a_stdlib_dataclass_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="speed"):
        Plain(speed=3)  # pyright: ignore[reportCallIssue]


def test_a_driver_of_a_pydantic_dataclass_converts_and_checks() -> None:
    assert Validated(port="5").port == 5  # pyright: ignore[reportArgumentType]
    with pytest.raises(pydantic.ValidationError):
        Validated(port="five")  # pyright: ignore[reportArgumentType]


def test_a_pydantic_driver_takes_children_of_any_flavour() -> None:
    children: dict[str, Driver] = {"plain": Plain(), "base": Base()}
    assert Validated(port=1, children=children).children == children


def test_a_field_called_name_takes_the_place_of_the_label() -> None:
    assert Plain(name="rack 3").name == "rack 3"
    assert Base(labels={"jumpstarter.dev/name": "lamp"}).name == "lamp"
    assert Base().name == "unknown"


def test_children_added_in_post_init_are_part_of_the_tree() -> None:
    parent = Parent()
    names = [name for _, _, name, _ in parent.enumerate()]
    assert names == [None, "lamp"]
    lamp = parent.children["lamp"].report(parent=parent, name="lamp")
    assert lamp.parent_uuid == str(parent.uuid)
    assert lamp.labels == {
        "jumpstarter.dev/client": "jumpstarter.client.DriverClient",
        "jumpstarter.dev/name": "lamp",
    }


def test_every_driver_has_a_logger_of_its_class() -> None:
    assert Guarded(log_level="DEBUG").logger.name == "driver.Guarded"


def test_a_child_that_fails_to_close_does_not_keep_the_others_open() -> None:
    good = Guarded()
    with pytest.raises(OSError, match="stuck") as caught:
        Base(children={"bad": Broken(), "good": good}).close()
    assert good.closed == ["closed"]
    assert caught.value.__notes__ == ["while closing bad"]


def test_several_failures_to_close_are_raised_together() -> None:
    with pytest.raises(ExceptionGroup, match="2 children"):
        Base(children={"a": Broken(), "b": Broken()}).close()
