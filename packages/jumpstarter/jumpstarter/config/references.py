"""Where the references of a driver tree lead; found before a driver is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..common.suggest import did_you_mean
from .entry import ExporterConfigV1Alpha1DriverInstance as Entry
from .place import Place
from .problems import Problems

MAX_ENTRIES = 10_000
"""Of a tree, with all references followed."""
MAX_CHAIN = 64
"""Entries on the way from the root to the deepest, with all references followed."""

Names = tuple[str, ...]
"""Names of children from the root."""


@dataclass(frozen=True)
class Node:
    """An entry and where it stands."""

    entry: Entry
    place: Place


@dataclass
class References:
    """The references among the entries of a tree, by names from its root."""

    nodes: dict[Names, Node]
    problems: Problems
    unknown: list[Node] = field(default_factory=list[Node])
    """Those to children that a driver makes itself; known only once it is made."""

    _targets: dict[Names, Names | None] = field(default_factory=dict[Names, "Names | None"])
    _sizes: dict[Names, int] = field(default_factory=dict[Names, int])
    _too_much: bool = False

    def check(self) -> None:
        """Find all that lead nowhere, or back to where they stand."""
        for names, node in self.nodes.items():
            if node.entry.ref is not None:
                self._target(names, ())
        self._measure((), ())

    def _target(self, names: Names, way: tuple[Names, ...]) -> Names | None:
        """The entry that a reference names; None if there is none, or none yet."""
        if names in self._targets:
            return self._targets[names]
        node = self.nodes[names]
        if names in way:
            self._leads_back(way, names)
            return None
        if len(way) > MAX_CHAIN:
            self._refuse(node, f"more than {MAX_CHAIN} references in a row")
            return None
        found = self._find(node, (*way, names))
        return self._targets.setdefault(names, found)

    def _find(self, node: Node, way: tuple[Names, ...]) -> Names | None:
        ref, current = node.entry.ref or "", ()
        for part in ref.split("."):
            current = self._followed(current, way)
            if current is None:
                return None
            if (*current, part) not in self.nodes:
                self._missing(node, ref, self.nodes[current])
                return None
            current = (*current, part)
        return current

    def _followed(self, names: Names, way: tuple[Names, ...]) -> Names | None:
        """The driver or composite at the end of the references from an entry."""
        followed: Names | None = names
        while followed is not None and self.nodes[followed].entry.ref is not None:
            if followed in way:
                self._leads_back(way, followed)
                return None
            reference, followed = followed, self._target(followed, way)
            way = (*way, reference)
        return followed

    def _missing(self, node: Node, ref: str, holder: Node) -> None:
        if holder.entry.type is not None:
            self.unknown.append(node)
            return
        known = [".".join(names) for names in self.nodes if names]
        self.problems.add(node.place / "ref", f"there is no entry {ref!r}{did_you_mean(ref, known)}")

    def _measure(self, names: Names, way: tuple[Names, ...]) -> int:
        """How many entries a client is told of below some names."""
        if names in way:
            self._leads_back(way, names)
            return 0
        if names not in self._sizes:
            if len(way) > MAX_CHAIN:
                self._refuse(self.nodes[names], f"more than {MAX_CHAIN} entries from the root to here")
                return 0
            self._sizes[names] = 1 + sum(self._measure(below, (*way, names)) for below in self._below(names))
            if self._sizes[names] > MAX_ENTRIES:
                self._refuse(self.nodes[names], f"more than {MAX_ENTRIES} entries, with references followed")
        return self._sizes[names]

    def _refuse(self, node: Node, message: str) -> None:
        """Complain of too much; once, since much that contains it or lies on the way is too much as well."""
        if not self._too_much:
            self.problems.add(node.place, message)
        self._too_much = True

    def _below(self, names: Names) -> list[Names]:
        entry = self.nodes[names].entry
        if entry.ref is not None:
            target = self._targets.get(names)
            return [] if target is None else [target]
        return [(*names, name) for name in entry.children if (*names, name) in self.nodes]

    def _leads_back(self, way: tuple[Names, ...], names: Names) -> None:
        circle = way[way.index(names) :] if names in way else way
        references = [step for step in circle if self.nodes[step].entry.ref is not None]
        if not references:
            return
        steps = " -> ".join(".".join(step) or "the root" for step in (*circle, names))
        self.problems.add(self.nodes[references[-1]].place / "ref", f"the reference leads back to itself ({steps})")
