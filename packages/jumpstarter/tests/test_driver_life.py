"""Reset, close, hand-back and states of drivers, whatever they do."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.core import DriverError
from jumpstarter.client.tree import Policy
from jumpstarter.common import ExporterStatus
from jumpstarter.common.exceptions import BusyError, ConfigurationError, DeviceAbsentError
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export
from jumpstarter.driver.handback import acts, wanted
from jumpstarter.driver.identity import normal_identity
from jumpstarter.driver.standin import StandIn, stand_in
from jumpstarter.driver.turns import Act, Failure, Turns
from jumpstarter.exporter import Session
from jumpstarter.exporter.upkeep import Tolerance
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

released = threading.Event()
"""Lets those that hang go on."""


Late = Callable[[Driver, BaseException | None], None]


class Impatient(Turns):
    """Gives a driver up as soon as it hangs, and no other, however slow the machine is."""

    def __init__(self, act: Act, late: Late | None = None) -> None:
        super().__init__(act, late=late, patience=0.02)

    def deadline(self, driver: Driver) -> float:
        return 0.0 if isinstance(driver, Odd) and driver.hangs_in == self.act else 60.0


@pytest.fixture(autouse=True)
def _let_go() -> Generator[None]:  # pyright: ignore[reportUnusedFunction] a fixture
    released.clear()
    yield
    released.set()


class Bare(Driver):
    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"


class Group(Bare):
    """Does nothing itself."""


@dataclass(kw_only=True)
class Odd(Bare):
    """Notes its turns, and does in each what it is told."""

    label: str = ""
    log: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    reset_does: str = "super"
    close_does: str = "super"
    hangs_in: str = field(default="", init=False)

    def reset(self) -> None:
        self._turn("reset", self.reset_does)
        if self.reset_does.startswith("super"):
            super().reset()
        if self.reset_does == "super, then fail":
            raise OSError("after all")

    def close(self) -> None:
        self._turn("close", self.close_does)
        if self.close_does.startswith("super"):
            super().close()
        if self.close_does == "super, then fail":
            raise OSError("after all")

    def _turn(self, what: str, does: str) -> None:
        self.log.append((what, self.label))
        if does == "fail":
            raise RuntimeError(f"{self.label} fails")
        if does == "exit":
            raise SystemExit(3)
        if does == "hang":
            self.hangs_in = what
            released.wait(60)
        if does == "call a child":
            for child in self.children.values():
                getattr(child, what)()
                break


BEHAVIOUR = ["super", "super", "super", "leave out", "fail", "exit", "hang", "super, then fail"]


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> dict[str, Any]:
    """A driver and those below it, as plain data."""
    children = draw(st.integers(0, 3 if depth else 0))
    return {
        "kind": draw(st.sampled_from(["odd", "odd", "composite"])),
        "reset": draw(st.sampled_from(BEHAVIOUR)),
        "close": draw(st.sampled_from(BEHAVIOUR)),
        "children": [draw(trees(depth - 1)) for _ in range(children)],
    }


def build(tree: dict[str, Any], log: list[tuple[str, str]], label: str = "r") -> Driver:
    below = {f"c{i}": build(child, log, f"{label}.c{i}") for i, child in enumerate(tree["children"])}
    if tree["kind"] == "composite":
        return Group(children=below)
    return Odd(label=label, log=log, reset_does=tree["reset"], close_does=tree["close"], children=below)


def labels(tree: dict[str, Any], wanted: str, label: str = "r") -> list[tuple[str, str]]:
    """The drivers of a tree that do something themselves, with what they do at reset or close."""
    own = [(label, tree[wanted])] if tree["kind"] == "odd" else []
    return own + [entry for i, child in enumerate(tree["children"]) for entry in labels(child, wanted, f"{label}.c{i}")]


@settings(max_examples=150, deadline=None)
@given(trees())
def test_every_driver_has_each_turn_exactly_once(tree: dict[str, Any]) -> None:
    released.clear()
    log: list[tuple[str, str]] = []
    root = build(tree, log)
    for act in ("reset", "close"):
        failures = Impatient(act).run(root)
        had = Counter(label for what, label in log if what == act)
        assert had == {label: 1 for label, _ in labels(tree, act)}
        bad = {label.partition(".")[2] for label, does in labels(tree, act) if does not in ("super", "leave out")}
        assert {failure.path for failure in failures} == bad
        hanging = {label.partition(".")[2] for label, does in labels(tree, act) if does == "hang"}
        assert {failure.path for failure in failures if not failure.has_ended} == hanging
    released.set()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["", "OSError", "RuntimeError", "SystemExit", "reset", "reset fails"]), max_size=6))
def test_an_exporter_begins_with_what_can_be_made_and_reset(faults: list[str]) -> None:
    log: list[tuple[str, str]] = []
    children: dict[str, Driver] = {}
    for i, fault in enumerate(faults):
        odd = Odd(label=str(i), log=log, reset_does="fail" if fault.startswith("reset") else "super")
        children[str(i)] = odd if fault in ("", "reset", "reset fails") else missing(Odd, OSError(fault))
    with Session(root_device=Group(children=children), tolerance=Tolerance()) as session:
        states = [session.upkeep.states.of(str(child.uuid)).condition.value for child in children.values()]
        expected = {"": "READY", "reset": "FAULTY", "reset fails": "FAULTY"}
        assert states == [expected.get(fault, "ABSENT") for fault in faults]
    real = [str(i) for i, fault in enumerate(faults) if fault in ("", "reset", "reset fails")]
    assert Counter(log) == Counter([(what, label) for label in real for what in ("reset", "close")])


def missing(cls: type[Driver], error: Exception) -> Driver:
    """A stand-in whose driver can never be made."""

    def make(_: dict[str, Driver]) -> Driver:
        raise error

    return stand_in(cls, {}, {}, make, error)


class TestTurns:
    def test_a_hanging_child_does_not_keep_its_parent_from_ending(self) -> None:
        log: list[tuple[str, str]] = []

        class Parent(Odd):
            def close(self) -> None:
                super().close()
                log.append(("closed", self.label))

        root = Parent(label="p", log=log, children={"a": Odd(label="a", log=log, close_does="hang"), "b": Odd(log=log)})
        (failure,) = Impatient("close").run(root)
        assert failure.path == "a"
        assert "close has not ended after 0 s" in str(failure)
        assert log == [("close", "p"), ("close", "a"), ("close", ""), ("closed", "p")]

    def test_a_driver_that_resets_a_child_itself_resets_it_once(self) -> None:
        log: list[tuple[str, str]] = []
        child = Odd(label="child", log=log)
        root = Odd(label="root", log=log, reset_does="call a child", children={"child": child})
        assert Turns("reset").run(root) == []
        assert log == [("reset", "root"), ("reset", "child")]

    def test_a_driver_that_is_there_twice_closes_once(self) -> None:
        log: list[tuple[str, str]] = []
        odd = Odd(label="x", log=log)
        root = Group(children={"a": odd, "b": odd})
        assert Turns("close").run(root) == []
        assert log == [("close", "x")]

    def test_what_ends_late_is_told(self) -> None:
        told: list[tuple[Driver, BaseException | None]] = []
        odd = Odd(reset_does="hang")
        assert len(Impatient("reset", late=lambda driver, error: told.append((driver, error))).run(odd)) == 1
        released.set()
        deadline = time.monotonic() + 60
        while not told:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert told[0][0] is odd
        assert told[0][1] is None

    def test_nothing_that_hangs_needs_one_thread_for_all(self) -> None:
        threads: set[int] = set()

        class Noting(Bare):
            def close(self) -> None:
                threads.add(threading.get_ident())

        children: dict[str, Driver] = {str(i): Noting() for i in range(50)}
        root = Group(children={"a": Group(children=children), "b": Noting()})
        Turns("close").run(root)
        assert len(threads) == 1

    def test_the_time_of_children_is_not_the_parents(self) -> None:
        class Slow(Bare):
            def close(self) -> None:
                time.sleep(0.6)

        class Strict(Turns):
            def deadline(self, driver: Driver) -> float:
                return 2.0 if driver is root else 60.0

        root = Odd(children={str(i): Slow() for i in range(4)})
        assert Strict("close", patience=60).run(root) == []

    def test_without_a_round_all_children_have_their_turn_too(self) -> None:
        log: list[tuple[str, str]] = []
        root = Group(children={"a": Odd(log=log, reset_does="fail"), "b": Odd(label="b", log=log)})
        with pytest.raises(RuntimeError, match="fails"):
            root.reset()
        assert log == [("reset", ""), ("reset", "b")]


class TestSession:
    def test_every_failure_to_reset_is_named_by_its_path(self) -> None:
        below: dict[str, Driver] = {"bad": Odd(label="x", reset_does="fail"), "good": Odd()}
        root = Group(children={"group": Group(children=below), "worse": Odd(reset_does="exit")})
        with pytest.raises(RuntimeError) as caught, serve(root):
            pass
        assert caught.value.__notes__ == ["while resetting group.bad", "resetting worse failed too: 3"]

    def test_a_failed_reset_call_keeps_the_driver_from_calls_until_it_succeeds(self) -> None:
        class Part(Odd):
            @export
            def use(self) -> str:
                return "used"

        part = Part(label="part")
        with tolerant(Group(children={"part": part})) as (_, client):
            part.reset_does = "fail"
            with pytest.raises(grpc.RpcError, match="part fails"):
                client.stub.blocking.Reset(pb.ResetRequest())
            with pytest.raises(DriverError, match="the driver is faulty: RuntimeError: part fails"):
                client.children["part"].call("use")
            part.reset_does = "super"
            assert client.children["part"].call("use") == "used"

    def test_a_reset_that_ends_late_makes_the_driver_ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jumpstarter.driver.turns.DRIVER_LIFE", 0.1)
        odd = Odd(reset_does="hang")
        with Session(root_device=Group(children={"odd": odd}), tolerance=Tolerance()) as session:
            state = session.upkeep.states.of(str(odd.uuid))
            assert state.condition.value == "FAULTY"
            released.set()
            wait_until(lambda: session.upkeep.states.of(str(odd.uuid)).condition.value == "READY")

    def test_two_sessions_never_have_one_device(self) -> None:
        class Physical(Bare):
            def identity(self) -> str | None:
                return "test-4711"

        with serve(Physical()), pytest.raises(BusyError, match="device test-4711 is in use"), serve(Physical()):
            pass
        with serve(Physical()):
            pass

    def test_an_identity_that_cannot_be_asked_keeps_the_driver_from_being_reset(self) -> None:
        log: list[tuple[str, str]] = []

        class Unknown(Odd):
            known = False

            def identity(self) -> str | None:
                if not self.known:
                    raise OSError("no such adapter")
                return None

            @export
            def use(self) -> str:
                return "used"

        unknown = Unknown(label="u", log=log, children={"below": Odd(label="below", log=log)})
        with tolerant(Group(children={"u": unknown})) as (_, client):
            assert log == [("reset", "below")]
            with pytest.raises(DriverError, match="absent: no such adapter"):
                client.children["u"].call("use")
            unknown.known = True
            assert client.children["u"].call("use") == "used"
            assert log == [("reset", "below"), ("reset", "u")]


@contextmanager
def tolerant(root: Driver) -> Generator[tuple[Session, Any]]:
    """A session that begins with what can be used, and its client."""
    with Session(root_device=root, tolerance=Tolerance()) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        with connect(Endpoint(str(path)), Policy(unsafe=True)) as client:
            yield session, client


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass(kw_only=True)
class Switch(Bare):
    """Notes what it is told."""

    release_default = "off"
    log: list[str] = field(default_factory=list[str], init=False)

    @export
    def off(self) -> None:
        self.log.append("off")

    @export
    async def sleep(self) -> None:
        self.log.append("sleep")

    @export
    def set(self, level: int) -> None:
        self.log.append(f"set {level}")

    @export
    def block(self) -> None:
        self.log.append("block")
        released.wait(60)


class TestRelease:
    def release(self, *drivers: Driver) -> list[Failure]:
        root = Group(children={f"d{i}": driver for i, driver in enumerate(drivers)})
        with tolerant(root) as (session, client):
            return client.portal.call(session.release)

    def test_plain_and_async_methods_and_nothing(self) -> None:
        drivers = [Switch(), Switch(on_release="sleep"), Switch(on_release="leave"), Switch(on_release=False)]
        assert self.release(*drivers) == []
        assert [driver.log for driver in drivers] == [["off"], ["sleep"], [], ["off"]]

    def test_a_class_can_take_other_values(self) -> None:
        @dataclass(kw_only=True)
        class Dimmer(Switch):
            def __post_init__(self) -> None:
                super().__post_init__()
                if not isinstance(self.on_release, int):
                    raise ConfigurationError("on_release: a level in percent")

            def release(self) -> None:
                self.set(self.on_release)

        dimmer = Dimmer(on_release=30)
        assert self.release(dimmer) == []
        assert dimmer.log == ["set 30"]
        with pytest.raises(ConfigurationError, match="a level in percent"):
            Dimmer(on_release="dark")

    def test_an_exported_method_called_release_is_not_that(self) -> None:
        class Button(Switch):
            @export
            def release(self) -> None:
                self.log.append("released")

        button = Button()
        assert self.release(button) == []
        assert button.log == ["off"]

    def test_each_failure_is_returned_and_stops_no_other(self) -> None:
        class Bad(Switch):
            @export
            def off(self) -> None:
                raise OSError("stuck")

        good = Switch()
        (failure,) = self.release(Bad(), good)
        assert str(failure) == "d0: stuck"
        assert good.log == ["off"]

    def test_one_that_does_not_end_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jumpstarter.exporter.handback.DRIVER_LIFE", 2.0)
        good = Switch()
        began = time.monotonic()
        try:
            root = Group(children={"bad": Switch(on_release="block"), "good": good})
            with tolerant(root) as (session, client):
                (failure,) = client.portal.call(session.release)
                assert time.monotonic() - began < 30
                released.set()
        finally:
            released.set()
        assert str(failure) == "bad: block has not ended after 2 s"
        assert good.log == ["off"]

    def test_it_gets_through_where_a_call_does_not_end(self) -> None:
        switch = Switch()
        with tolerant(Group(children={"s": switch})) as (session, client):
            task = client.portal.start_task_soon(client.children["s"].call_async, "block")
            wait_until(lambda: switch.log == ["block"])
            task.cancel()
            assert client.portal.call(session.release) == []
            assert switch.log == ["block", "off"]
            released.set()

    @pytest.mark.parametrize("is_quick", [True, False], ids=["quick", "hangs"])
    def test_a_device_is_not_handed_back_while_its_reset_is_tried_again_unless_that_hangs(
        self, is_quick: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Late(Switch):
            """Cannot be reset at first, and takes long then."""

            def reset(self) -> None:
                self.log.append("reset")
                if self.log.count("reset") == 1:
                    raise OSError("not yet")
                released.wait(60)
                self.log.append("is reset")

        monkeypatch.setattr("jumpstarter.exporter.calls.STUCK", 60 if is_quick else 0.1)
        late = Late()
        with tolerant(Group(children={"late": late})) as (session, client):
            with pytest.raises(DriverError, match="not yet"):
                client.children["late"].call("off")
            wait_until(lambda: late.log.count("reset") == 2)
            handing_back = client.portal.start_task_soon(session.release)
            if is_quick:
                time.sleep(0.3)
                released.set()
            assert handing_back.result(60) == []
            assert late.log == ["reset", "reset", *(["is reset", "off"] if is_quick else ["off"])]
            released.set()
            wait_until(lambda: not session.upkeep.states.troubles)

    def test_the_children_of_a_driver_are_handed_back_too(self) -> None:
        inner = Switch()
        outer = Switch(children={"inner": inner})
        assert self.release(outer) == []
        assert (outer.log, inner.log) == (["off"], ["off"])

    def test_a_default_that_a_class_cannot_do_is_of_no_effect(self) -> None:
        class Strange(Bare):
            release_default = "warp"

        assert wanted(Strange()) == "leave"
        assert not acts(Strange())

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("of", "did you mean 'off'"),
            ("set", "it can be leave, block, off, sleep"),
            (3, "no method 3"),
            (True, "no method 'on'"),
        ],
    )
    def test_what_a_driver_cannot_do_is_refused_when_it_is_made(self, value: object, problem: str) -> None:
        with pytest.raises(ConfigurationError, match=problem):
            Switch(on_release=value)

    def test_an_interface_says_it_whatever_the_order_of_the_bases(self) -> None:
        class Off:
            release_default = "off"

        class First(Off, Switch):
            release_default = "leave"

        class Last(Bare, Off):
            @export
            def off(self) -> None: ...

        class Later(First): ...

        assert [wanted(cls()) for cls in (First, Last, Later)] == ["leave", "off", "leave"]


class TestStandIn:
    def test_it_is_of_the_class_for_all_who_ask(self) -> None:
        made = missing(Switch, OSError("gone"))
        assert isinstance(made, Switch)
        assert isinstance(made, StandIn)
        assert made.report(name="x").labels["jumpstarter.dev/client"] == "jumpstarter.client.DriverClient"
        with pytest.raises(DeviceAbsentError, match="gone"):
            made.off()
        with pytest.raises(DeviceAbsentError, match="gone"):
            _ = made.log
        assert not hasattr(made, "log")

    def test_who_kept_it_reaches_the_driver(self) -> None:
        made = missing(Switch, OSError("gone"))
        assert isinstance(made, StandIn)
        kept: Any = made
        real = kept.driver = Switch()
        kept.off()
        assert real.log == kept.log == ["off"]

    def test_a_class_that_no_class_can_derive_from_has_one_too(self) -> None:
        class Final(Bare):
            def __init_subclass__(cls) -> None:
                raise TypeError("final")

        assert isinstance(missing(Final, OSError("gone")), StandIn)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("rfc2217://Relay3:4000", "tcp:relay3:4000"),
        ("socket://user:pw@relay3:4000/x", "tcp://relay3:4000"),
        ("USB:0403:6001:A50", "usb:0403:6001:a50"),
        ("serial:/dev/../dev/null", "/dev/null"),
        ("path:/dev/null", " /dev/null "),
    ],
)
def test_identities_have_one_form(first: str, second: str) -> None:
    assert normal_identity(first) == normal_identity(second)


def test_what_has_no_form_of_ours_stays_as_it_is() -> None:
    assert normal_identity("J-Link 59401234") == "J-Link 59401234"


def test_a_driver_that_is_made_too_late_is_closed_without_those_below_it_that_were_there() -> None:
    log: list[tuple[str, str]] = []
    go = threading.Event()
    pending: Future[Driver] = Future()
    below: dict[str, Driver] = {"below": Odd(label="below", log=log)}

    def make(children: dict[str, Driver]) -> Driver:
        go.wait(60)
        return Odd(label="late", log=log, children=children)

    made = stand_in(Odd, {}, below, make, TimeoutError("still being made"))
    with Session(root_device=Group(children={"late": made}), tolerance=Tolerance()) as session:
        trouble = session.upkeep.states.troubles[str(made.uuid)]
        session.upkeep.states.try_now(trouble, lambda: pending.set_result(made))
    assert log == [("reset", "below"), ("close", "below")]
    go.set()
    pending.result(60)
    assert log[2:] == [("close", "late")]


def test_a_driver_that_does_not_fit_into_the_tree_is_faulty_and_the_others_are_served() -> None:
    class Growing(Group):
        def enumerate(self, **place: Any) -> Any:
            raise ConfigurationError("the name 'call' hides an attribute")

    made = stand_in(Growing, {}, {}, lambda _: Growing(), OSError("gone"))
    with tolerant(Group(children={"bad": made, "good": Switch()})) as (_, client):
        with pytest.raises(DriverError, match="'call' hides an attribute"):
            client.children["bad"].call("x")
        client.children["good"].call("off")
