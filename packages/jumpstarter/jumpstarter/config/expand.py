"""Plain data with positions from the nodes of a YAML text.

Types are those of PyYAML's safe loader (YAML 1.1). A key that stands twice, which YAML libraries let pass, is an error.
"""

from __future__ import annotations

from typing import Any

import yaml

from .nodes import MAX_DEPTH, TAG, Loader, Node
from .place import Mark, Path, Place, Source
from .problems import InvalidConfigurationError, Problems

MAX_VALUES = 100_000
"""Values in a file after aliases are expanded."""
MAX_NUMBER = 100
"""Characters of a number or date; reading some takes time that grows with the square."""

Entries = dict[object, tuple[Node, Node]]


def expand(node: Node, name: str) -> tuple[Any, Place]:
    """The data of a document, and its place, which knows the position of everything in it."""
    expansion = _Expansion(name)
    data = expansion.value(node, ())
    expansion.problems.raise_any()
    return data, expansion.place(())


class _Expansion:
    def __init__(self, name: str) -> None:
        self.problems = Problems()
        self._marks: dict[Path, Mark] = {}
        self._source = Source(name, self._marks)
        self._values = 0
        self._constructor = Loader("")

    def place(self, path: Path) -> Place:
        return Place(self._source, path)

    def value(self, node: Node, path: Path) -> Any:
        self._count(node, path)
        self._marks.setdefault(path, Mark(node.line, node.column))
        if node.items is not None:
            return self._list(node, node.items, path)
        if node.entries is not None:
            return self._mapping(node, path)
        return self._scalar(node, path)

    def _count(self, node: Node, path: Path) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._wrong(node, path, f"more than {MAX_VALUES} values, with all aliases expanded")
        if len(path) > MAX_DEPTH:
            raise self._wrong(node, path, f"nested more than {MAX_DEPTH} deep, with all aliases expanded")

    def _wrong(self, node: Node, path: Path, message: str) -> InvalidConfigurationError:
        self._complain(node, path, message)
        return self.problems.error() or InvalidConfigurationError([message])

    def _complain(self, node: Node, path: Path, message: str, key_text: str | None = None) -> None:
        """Remember a problem at a node, also where another node has the path."""
        prefixes = [path[:length] for length in range(len(path) + 1)]
        marks = {prefix: self._marks[prefix] for prefix in prefixes if prefix in self._marks}
        if path in marks:
            key_text = marks[path].key_text
        marks[path] = Mark(node.line, node.column, key_text=key_text)
        self.problems.add(Place(Source(self._source.name, marks), path), message)

    def _list(self, node: Node, items: list[Node], path: Path) -> list[Any]:
        self._only_tag(node, "seq", path)
        values: list[Any] = []
        for index, item in enumerate(items):
            self._marks[*path, index] = Mark(item.line, item.column, _foreign_text(item))
            values.append(self.value(item, (*path, index)))
        return values

    def _mapping(self, node: Node, path: Path) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key, (key_node, item) in self._entries(node, path, 0).items():
            self._marks[*path, key] = Mark(key_node.line, key_node.column, _foreign_text(item), _foreign_text(key_node))
            values[key] = self.value(item, (*path, key))
        return values

    def _entries(self, node: Node, path: Path, depth: int) -> Entries:
        """The entries of a mapping; its own win over those that `<<` brings, earlier ones over later ones."""
        self._only_tag(node, "map", path)
        if depth > MAX_DEPTH:
            raise self._wrong(node, path, f"more than {MAX_DEPTH} mappings merged into one another")
        own: Entries = {}
        merged: Entries = {}
        for key_node, item in node.entries or []:
            self._count(key_node, path)
            if key_node.tag == f"{TAG}merge":
                merged = self._merged(item, path, depth) | merged
                continue
            key = self._key(key_node, path)
            if key in own:
                message = f"stands here twice; first in line {own[key][0].line}"
                self._complain(key_node, (*path, key), message, key_text=_foreign_text(key_node))
            else:
                own[key] = key_node, item
        return own | {key: entry for key, entry in merged.items() if key not in own}

    def _merged(self, node: Node, path: Path, depth: int) -> Entries:
        merged: Entries = {}
        for source in [node] if node.items is None else node.items:
            if source.entries is None:
                raise self._wrong(source, path, "'<<' takes a mapping, or a list of mappings")
            merged = self._entries(source, path, depth + 1) | merged
        return merged

    def _key(self, node: Node, path: Path) -> object:
        if node.items is not None or node.entries is not None:
            raise self._wrong(node, path, "a key is a text, not a list or mapping")
        return self._scalar(node, path)

    def _only_tag(self, node: Node, tag: str, path: Path) -> None:
        if node.tag not in ("", "!", f"{TAG}{tag}"):
            raise self._wrong(node, path, f"tag {_shown(node.tag)} is not known here")

    def _scalar(self, node: Node, path: Path) -> Any:
        kind = node.tag.removeprefix(TAG)
        if kind in ("str", "value", "merge"):
            return node.text
        if kind != "binary" and len(node.text) > MAX_NUMBER:
            raise self._wrong(node, path, f"more than {MAX_NUMBER} characters; that is no {kind}")
        try:
            return self._constructor.construct_object(yaml.ScalarNode(node.tag, node.text), deep=True)
        except yaml.YAMLError as e:
            raise self._wrong(node, path, f"tag {_shown(node.tag)} is not known here") from e
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as e:
            # what PyYAML raises for `2024-13-45` or `!!bool x`
            raise self._wrong(node, path, f'{node.text} is no {kind}; a text is written as "{node.text}"') from e


def _foreign_text(node: Node) -> str | None:
    """What is written at a scalar that YAML reads as something other than text."""
    is_text = node.items is not None or node.entries is not None or node.tag == f"{TAG}str"
    return None if is_text else node.text


def _shown(tag: str) -> str:
    return f"!!{tag.removeprefix(TAG)}" if tag.startswith(TAG) else tag
