"""The tree of clients, made from an exporter's report."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ..common.env import JMP_SUPPRESS_DRIVER_WARNINGS
from ..common.exceptions import JumpstarterException, MissingDriverError
from ..common.importlib import import_class
from ..common.metadata import CLIENT_LABEL, NAME_LABEL
from .base import DriverClient, StubDriverClient

logger = logging.getLogger(__name__)

MAX_DRIVERS = 10_000

MAX_DEPTH = 100
"""How deep drivers may nest."""


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


@dataclass
class _Node:
    """One entry of the report, with what is below it."""

    report: Any
    depth: int
    path: str
    children: dict[str, _Node]


def build_tree(reports: Iterable[Any], stub: Any, portal: Any, stack: ExitStack, policy: Policy) -> DriverClient:
    """The root client of a report, whose entries come parents first.

    Raises InvalidReport unless the report is one tree.
    """
    root = _tree(list(reports))
    return _client(root, stub, portal, stack, policy)


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
                raise InvalidReport(f"the exporter's report has no parent for driver {name or report.uuid!r}")
            root = latest[report.uuid] = _Node(report, 0, "", {})
            continue
        if not name or name in parent.children:
            raise InvalidReport(f"the exporter's report has two drivers {name!r} under {parent.path or 'the root'}")
        if parent.depth == MAX_DEPTH:
            raise InvalidReport(f"the exporter's report nests drivers deeper than {MAX_DEPTH}")
        node = _Node(report, parent.depth + 1, f"{parent.path}.{name}" if parent.path else name, {})
        latest[report.uuid] = parent.children[name] = node
    assert root is not None
    return root


def _client(node: _Node, stub: Any, portal: Any, stack: ExitStack, policy: Policy) -> DriverClient:
    """The client of an entry, after those below it."""
    report = node.report
    client_class, reason = _client_class(report.labels.get(CLIENT_LABEL, ""), node.path, policy)
    try:
        uuid = UUID(report.uuid)
    except ValueError:
        raise InvalidReport(f"the exporter's report has no valid uuid for driver {node.path!r}") from None
    client = client_class(
        uuid=uuid,
        labels=dict(report.labels),
        stub=stub,
        portal=portal,
        stack=stack.enter_context(ExitStack()),
        children={name: _client(child, stub, portal, stack, policy) for name, child in node.children.items()},
        description=report.description or None,
        methods_description=dict(report.methods_description),
    )
    client.path = node.path
    if isinstance(client, StubDriverClient):
        client.reason = reason
    return client


def _client_class(class_path: str, path: str, policy: Policy) -> tuple[type[DriverClient], str]:
    """The class of a client, or the one that stands in for it, and why it does."""
    try:
        client_class = import_class(class_path, policy.allow, policy.unsafe)
        if issubclass(client_class, DriverClient):
            return client_class, ""
        reason = f"{class_path} is not a client class"
    except (MissingDriverError, ImportError) as e:
        reason = e.message if isinstance(e, MissingDriverError) else str(e)
    if not os.environ.get(JMP_SUPPRESS_DRIVER_WARNINGS):
        logger.warning("driver %s: %s", path or "root", reason)
    return StubDriverClient, reason
