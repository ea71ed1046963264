"""The tree of clients, made from an exporter's report."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.env import JMP_SUPPRESS_DRIVER_WARNINGS
from ..common.exceptions import JumpstarterException, MissingDriverError
from ..common.importlib import import_class
from ..common.limits import MAX_METHODS, MAX_NAME
from ..common.metadata import CLIENT_LABEL, NAME_LABEL
from ..common.text import one_line, printable, printable_doc
from .base import DriverClient, StubDriverClient

logger = logging.getLogger(__name__)

MAX_DRIVERS = 10_000

MAX_DEPTH = 100
"""How deep drivers may nest."""

GENERIC = "jumpstarter.client.generic.GenericClient"
"""The class that a driver without a client of its own names."""


class InvalidReport(JumpstarterException):
    """The exporter's report is not a tree of drivers."""


@dataclass(frozen=True)
class Policy:
    """Which client classes may be loaded beside those of installed driver packages."""

    allow: tuple[str, ...] = ()
    """Patterns of dotted class paths."""

    unsafe: bool = False
    """Load whatever can be imported."""

    @classmethod
    def of(cls, allow: Iterable[str], unsafe: bool) -> Policy:
        """The policy; the pattern UNSAFE allows everything."""
        patterns = tuple(pattern for pattern in allow if pattern)
        return cls(patterns, unsafe or "UNSAFE" in patterns)


class _Node:
    """One entry of the report, with what is below it."""

    def __init__(self, report: Any, depth: int, path: str) -> None:
        self.report = report
        self.depth = depth
        self.path = path
        self.children: dict[str, _Node] = {}


def build_tree(
    reports: Iterable[Any], stub: Any, portal: Any, stack: ExitStack, policy: Policy, types: Iterable[Any] = ()
) -> DriverClient:
    """The root client of a report, whose entries come parents first; `types` are what it says of the drivers' classes.

    Raises InvalidReport unless the report is one tree.
    """
    root = _tree(list(reports))
    return _Builder(stub, portal, policy, _types(list(types))).client(root, stack)


def _tree(reports: list[Any]) -> _Node:
    """The entries of a report, linked; an instance that is there twice is a parent where it came last."""
    if not 0 < len(reports) <= MAX_DRIVERS:
        raise InvalidReport(f"the exporter reports {len(reports)} drivers; between 1 and {MAX_DRIVERS} are possible")
    root: _Node | None = None
    latest: dict[str, _Node] = {}
    for report in reports:
        parent = latest.get(report.parent_uuid) if report.parent_uuid else None
        name = report.labels.get(NAME_LABEL, "")
        if parent is None:
            if root is not None or report.parent_uuid:
                raise InvalidReport(
                    f"the exporter's report has no parent for driver {one_line(name or report.uuid)[:60]!r}"
                )
            root = latest[report.uuid] = _Node(report, 0, "")
            continue
        _check_name(name)
        if name in parent.children:
            raise InvalidReport(f"the exporter's report has two drivers {name!r} under {parent.path or 'the root'}")
        if parent.depth == MAX_DEPTH:
            raise InvalidReport(f"the exporter's report nests drivers deeper than {MAX_DEPTH}")
        node = _Node(report, parent.depth + 1, f"{parent.path}.{name}" if parent.path else name)
        latest[report.uuid] = parent.children[name] = node
    assert root is not None
    return root


def _check_name(name: str) -> None:
    """Raise InvalidReport unless a name is one component, which can be shown and typed."""
    is_component = 0 < len(name) <= MAX_NAME and "/" not in name and name not in (".", "..")
    if not is_component or printable(name) != name or "\n" in name or "\t" in name or name.startswith("__"):
        raise InvalidReport(f"the exporter's report has a driver of the name {one_line(name)[:60]!r}, which is none")


def _types(types: list[Any]) -> dict[str, Any]:
    """The described types by name."""
    methods = sum(len(described.methods) for described in types)
    if methods > MAX_METHODS:
        raise InvalidReport(f"the exporter's report describes {methods} methods; at most {MAX_METHODS} are possible")
    return {described.name: described for described in types if described.name}


def _unavailable(state: Any) -> str:
    """Why a device cannot be used, by its reported state."""
    words = {pb.DriverState.ABSENT: "absent", pb.DriverState.FAULTY: "faulty"}
    word = words.get(state.condition)
    return (
        one_line(": ".join(filter(None, [word, "; ".join(filter(None, [state.reason, state.hint]))]))) if word else ""
    )


class _Builder:
    """Makes the clients of one tree."""

    def __init__(self, stub: Any, portal: Any, policy: Policy, types: dict[str, Any]) -> None:
        self._stub = stub
        self._portal = portal
        self._policy = policy
        self._types = types
        self._named: dict[str, type] = {}
        self._generic: dict[tuple[str, bool], type[DriverClient]] = {}

    def client(self, node: _Node, stack: ExitStack) -> DriverClient:
        """The client of an entry, after those below it."""
        report = node.report
        described = self._types.get(report.driver_type)
        client_class, reason = self._client_class(report.labels.get(CLIENT_LABEL, ""), node.path, described)
        try:
            uuid = UUID(report.uuid)
        except ValueError:
            raise InvalidReport(f"the exporter's report has no valid uuid for driver {node.path!r}") from None
        client = client_class(
            uuid=uuid,
            labels=dict(report.labels),
            stub=self._stub,
            portal=self._portal,
            stack=stack.enter_context(ExitStack()),
            children={name: self.client(child, stack) for name, child in node.children.items()},
            description=printable_doc(report.description) or None,
            methods_description={name: printable_doc(text) for name, text in report.methods_description.items()},
        )
        client.path = node.path
        client.driver_type = described
        client.unavailable = _unavailable(report.state)
        if isinstance(client, StubDriverClient):
            client.reason = reason
        return client

    def _client_class(self, class_path: str, path: str, described: Any) -> tuple[type[DriverClient], str]:
        """The class of a client, or the one that stands in for it, and why it does."""
        if class_path == GENERIC and described is not None:
            return self._generic_class(described), ""
        reason = "its exporter does not describe its methods; call them by name, with call()"
        if class_path != GENERIC:
            try:
                client_class = self._named.get(class_path) or self._import(class_path)
            except MissingDriverError as e:
                reason = e.message
            else:
                if issubclass(client_class, DriverClient):
                    return client_class, ""
                reason = f"{class_path} is not a client class"
        _warn(path, reason, generic=described is not None)
        return StubDriverClient if described is None else self._generic_class(described, stands_in=True), reason

    def _import(self, class_path: str) -> type:
        self._named[class_path] = found = import_class(class_path, self._policy.allow, self._policy.unsafe)
        return found

    def _generic_class(self, described: Any, *, stands_in: bool = False) -> type[DriverClient]:
        """The class that is made for a type, once; one that stands in for the driver's own is a stub, too."""
        from .generic import GenericClient, StandInClient, class_for

        made = self._generic.get((described.name, stands_in))
        if made is None:
            made = class_for(described, StandInClient if stands_in else GenericClient)
            self._generic[described.name, stands_in] = made
        return made


def _warn(path: str, reason: str, *, generic: bool) -> None:
    """Say that a driver is used without the client that it names."""
    if not os.environ.get(JMP_SUPPRESS_DRIVER_WARNINGS):
        instead = "; using the generic client" if generic else ""
        logger.warning("driver %s: %s%s", path or "root", one_line(reason), instead)
