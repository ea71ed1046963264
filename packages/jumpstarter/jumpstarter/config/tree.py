"""From entries to drivers: everything is checked before the first driver is made."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import MISSING, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..common.exceptions import ConfigurationError
from ..common.suggest import did_you_mean
from .classes import load_class
from .entry import ExporterConfigV1Alpha1DriverInstance as Entry
from .parameters import arguments, signature_of
from .place import Place
from .problems import InvalidConfigurationError, Problems, wrong
from .references import Names, Node, References

if TYPE_CHECKING:
    from ..driver import Driver

logger = logging.getLogger(__name__)

_COMPOSITE_MODULE = "jumpstarter_driver_composite.driver"


@dataclass
class Plan:
    """A driver that can be made: nothing is known to be wrong with it."""

    cls: type[Driver]
    arguments: dict[str, Any]
    place: Place
    children: dict[str, Plan]
    entry: Entry
    """What it is made of."""

    isolated: Entry | None = None
    """What to make in a process of its own, with what is below it."""

    unknown_references: list[Node] = field(default_factory=list[Node])
    """Of the whole tree, those that only the finished tree can prove."""

    def make(self, children: dict[str, Driver]) -> Driver:
        """Make the driver itself. Raises what its constructor does."""
        driver = self._make(children)
        self.mark(driver)
        return driver

    def mark(self, driver: Driver) -> None:
        """Note at what was made, or stands for it, how the exporter is to run it, and the parts that came with it."""
        _mark(driver, self.entry, parts=self.isolated is not None)

    def _make(self, children: dict[str, Driver]) -> Driver:
        if self.isolated is not None:
            from ..isolation import isolated

            return isolated(self.cls, self.isolated.dump(), self.arguments, str(self.place.source or ""))
        # a constructor may change what it gets, and another attempt must find it as it was
        given = {
            name: deepcopy(value) if type(value) in (list, dict) else value for name, value in self.arguments.items()
        }
        if signature_of(self.cls).takes("children"):
            given["children"] = dict(children)
        return self.cls(**given)


def _mark(driver: Driver, entry: Entry, *, parts: bool) -> None:
    if entry.concurrent:
        vars(driver)["concurrent_calls"] = True
    for name, child in entry.children.items() if parts else ():
        if name in driver.children:
            _mark(driver.children[name], child, parts=True)


def plan(root: Entry, export: Place | None = None, problems: Problems | None = None) -> Plan:
    """How to make a tree, whose references start at its root. Raises ConfigurationError with all that is wrong.

    `export` is the place of the children, where they stand there without the root itself. `problems` are those that
    are known already.
    """
    planner = _Planner(Problems() if problems is None else problems)
    readable = not planner.problems.found
    place = export or root.place or Place()
    planned = planner.plan(root, place, (), export or place / "children")
    references = References(planner.nodes, planner.problems)
    if readable:  # else an entry may be missing because it could not be read
        references.check()
    planner.problems.raise_any()
    assert planned is not None
    planned.unknown_references = references.unknown
    return planned


def make(root: Entry, export: Place | None = None) -> Driver:
    """Make a tree, see `plan`. If it fails, those made so far are closed."""
    planned = plan(root, export)
    made: list[Driver] = []
    try:
        tree = _make(planned, made)
        check_made(tree, planned)
    except BaseException:
        for driver in reversed(made):
            _close(driver)
        raise
    return tree


class _Planner:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.nodes: dict[Names, Node] = {}
        self._composite_classes: dict[str, type[Driver] | None] = {}

    def plan(self, entry: Entry, place: Place, names: Names, below: Place) -> Plan | None:
        self.nodes[names] = Node(entry, place)
        cls = self._class(entry, place)
        self._check_names(entry, cls, below)
        children: dict[str, Plan | None] = {}
        for name, child in entry.children.items():
            child_place = child.place if child.place is not None and child.place.source is not None else below / name
            children[name] = self.plan(child, child_place, (*names, name), child_place / "children")
        if cls is None:
            return None
        given = self._arguments(cls, entry, place)
        made = {name: child for name, child in children.items() if child is not None}
        if entry.isolate is None:
            return Plan(cls, given, place, made, entry)
        if problem := _cannot_isolate(entry):
            self.problems.add(place / "isolate", problem)
        return Plan(cls, given, place, {}, entry, isolated=replace(entry, isolate=None))

    def _class(self, entry: Entry, place: Place) -> type[Driver] | None:
        if entry.type is not None:
            return load_class(entry.type, place / "type", self.problems)
        name = "Proxy" if entry.ref is not None else "Composite"
        if name not in self._composite_classes:  # the first entry speaks for all
            self._composite_classes[name] = load_class(f"{_COMPOSITE_MODULE}.{name}", place, self.problems)
        return self._composite_classes[name]

    def _arguments(self, cls: type[Driver], entry: Entry, place: Place) -> dict[str, Any]:
        config = entry.config if entry.ref is None else {"ref": entry.ref}
        given = arguments(cls, config, place, self.problems)
        signature = signature_of(cls)
        for name in ("description", "methods_description"):
            if signature.takes(name):
                given[name] = copy(getattr(entry, name))
            elif getattr(entry, name):
                self.problems.add(place / name, f"{cls.__name__} takes no {name}")
        if entry.children and not signature.takes("children"):
            self.problems.add(place / "children", f"{cls.__name__} takes no children")
        return {name: value for name, value in given.items() if value is not MISSING}

    def _check_names(self, entry: Entry, cls: type[Driver] | None, below: Place) -> None:
        for name, child in entry.children.items():
            place = child.place if child.place is not None and child.place.source is not None else below / name
            if problem := _bad_name(name) or _hides(name, cls):
                self.problems.add(place, problem)


def _cannot_isolate(entry: Entry) -> str | None:
    """Why an entry cannot have a process of its own."""
    for name, child in entry.children.items():
        if child.ref is not None:
            return f"{name!r} below it is a reference, which cannot lead out of its process"
        if problem := _cannot_isolate(child):
            return problem
    return None


def _bad_name(name: str) -> str | None:
    if not name:
        return "the name of an entry is empty"
    if bad := [character for character in name if character in "./" or not character.isprintable()]:
        return f"the name of an entry cannot contain {bad[0]!r}"
    return None


def _hides(name: str, cls: type[Driver] | None) -> str | None:
    """What a name would hide at the client of a composite class."""
    module = sys.modules.get(_COMPOSITE_MODULE)  # loaded if the class derives from what it defines
    if module is None or cls is None or not issubclass(cls, module.CompositeInterface):
        return None
    check: Callable[[str], str | None] = module.check_child_name
    return check(name)


def _make(planned: Plan, made: list[Driver]) -> Driver:
    """Make a driver after its children. `made` has those that nobody owns yet."""
    children = {name: _make(child, made) for name, child in planned.children.items()}
    try:
        driver = planned.make(children)
    except Exception as e:
        raise construction_error(planned, e) from e
    del made[len(made) - len(children) :]
    made.append(driver)
    return driver


def construction_error(planned: Plan, error: BaseException) -> InvalidConfigurationError:
    """What is wrong with an entry whose driver cannot be made."""
    path = f"{planned.cls.__module__}.{planned.cls.__qualname__}"
    details: Callable[..., list[dict[str, Any]]] | None = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and details is not None:  # pydantic's
        problems = Problems()
        for detail in details(include_url=False, include_context=False, include_input=False):
            place = planned.place / "config" if detail["loc"] else planned.place
            for step in detail["loc"]:
                place /= step
            problems.add(place, f"{path}: {detail['msg']}")
        if invalid := problems.error():
            return invalid
    text = str(error)
    if isinstance(error, ConfigurationError):
        return wrong(planned.place, f"{path}: {text}")
    return wrong(planned.place, f"{path} cannot be made: {type(error).__name__}{text and ': '}{text}")


def check_made(tree: Driver, planned: Plan, *, is_whole: Callable[[Driver], bool] = lambda _: True) -> None:
    """Raise ConfigurationError for what only the finished tree shows.

    `is_whole` says of a driver whether it has all its children; what lies below one that has not is not looked at.
    """
    problems = Problems()
    for node in planned.unknown_references:
        if missing := _missing(tree, node.entry.ref or "", is_whole):
            problems.add(node.place / "ref", missing)
    problems.raise_any()
    try:
        tree.enumerate()  # as a client would be told of it; drivers may have added to it
    except ConfigurationError as e:
        raise wrong(planned.place, str(e)) from e


def _missing(tree: Driver, ref: str, is_whole: Callable[[Driver], bool]) -> str:
    """Why a reference leads nowhere; empty if it leads somewhere."""
    driver, walked = tree, list[str]()
    for part in ref.split("."):
        child = driver.children.get(part)
        if child is None:
            if not is_whole(driver) or _is_reference(driver):  # enumerating follows that one
                return ""
            known = ", ".join(driver.children)
            there = did_you_mean(part, driver.children) or (f"; it has {known}" if known else "; it has none")
            holder = f"{'.'.join(walked)!r} ({type(driver).__name__})" if walked else "the root"
            return f"{holder} has no driver {part!r} below it{there}"
        driver = child
        walked.append(part)
    return ""


def _is_reference(driver: Driver) -> bool:
    module = sys.modules.get(_COMPOSITE_MODULE)
    return module is not None and isinstance(driver, module.Proxy)


def _close(driver: Driver) -> None:
    try:
        driver.close()
    except Exception:
        logger.warning("closing %s after another driver could not be made", type(driver).__name__, exc_info=True)
