"""From entries to drivers: everything is checked before the first driver is made."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, dataclass, field
from typing import TYPE_CHECKING, Any

from ..common.exceptions import ConfigurationError
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
    unknown_references: list[Node] = field(default_factory=list[Node])
    """Of the whole tree, those that only the finished tree can prove."""


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
        _check_unknown(tree, planned.unknown_references)
        _check_whole(tree, planned.place)
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
        return Plan(cls, given, place, {name: child for name, child in children.items() if child is not None})

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
    given: dict[str, Any] = dict(planned.arguments)
    if signature_of(planned.cls).takes("children"):
        given["children"] = children
    try:
        driver = planned.cls(**given)
    except Exception as e:
        raise _construction_error(planned, e) from e
    del made[len(made) - len(children) :]
    made.append(driver)
    return driver


def _construction_error(planned: Plan, error: Exception) -> InvalidConfigurationError:
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


def _check_unknown(tree: Driver, references: list[Node]) -> None:
    problems = Problems()
    for node in references:
        driver: Driver | None = tree
        for part in (node.entry.ref or "").split("."):
            driver = None if driver is None else driver.children.get(part)
        if driver is None:
            problems.add(node.place / "ref", f"there is no entry {node.entry.ref!r}")
    problems.raise_any()


def _check_whole(tree: Driver, place: Place) -> None:
    """Walk the tree as a client would be told of it; drivers may have added to it."""
    try:
        tree.enumerate()
    except ConfigurationError as e:
        raise wrong(place, str(e)) from e


def _close(driver: Driver) -> None:
    try:
        driver.close()
    except Exception:
        logger.warning("closing %s after another driver could not be made", type(driver).__name__, exc_info=True)
