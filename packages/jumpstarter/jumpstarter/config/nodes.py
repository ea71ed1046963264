"""The nodes of a YAML text, each with its position.

The text is read event by event, so that nothing in it can exhaust the stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from ..common.text import one_line
from .place import Mark, Place, Source
from .problems import wrong

MAX_DEPTH = 64
TAG = "tag:yaml.org,2002:"
Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

EMPTY = "is empty; a configuration is a mapping (key: value)"


@dataclass(slots=True, eq=False)
class Node:
    """A scalar with its text, a list with its items, or a mapping with its entries."""

    line: int
    column: int
    tag: str
    text: str = ""
    items: list[Node] | None = None
    entries: list[tuple[Node, Node]] | None = None


def compose(text: str, name: str) -> Node:
    """The only document of a text; an alias is another reference to its node."""
    return _Composer(text, name).document()


def whole(name: str, line: int = 1, column: int = 1) -> Place:
    """The whole of a file, with a position in it."""
    return Place(Source(name, {(): Mark(line, column)}))


class _Composer:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._anchors: dict[str, Node | None] = {}

    def document(self) -> Node:
        try:
            self._events = Loader(self._text)
            self._events.get_event()  # the stream starts
            if self._events.check_event(yaml.StreamEndEvent):
                raise wrong(whole(self._name), EMPTY)
            self._events.get_event()  # the document starts
            root = self._node(1)
            self._events.get_event()  # the document ends
            if not self._events.check_event(yaml.StreamEndEvent):
                second = self._events.get_event()
                self._fail(second.start_mark, "a second document starts here; a file holds one")
        except yaml.MarkedYAMLError as e:
            self._fail(e.problem_mark or e.context_mark, f"not valid YAML: {self._explanation(e)}", e)
        except (yaml.YAMLError, UnicodeEncodeError) as e:
            raise wrong(whole(self._name), f"not valid YAML: {e}") from e
        return root

    def _fail(self, mark: Any, message: str, cause: Exception | None = None) -> NoReturn:
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise wrong(whole(self._name, line, column), message) from cause

    def _explanation(self, error: yaml.MarkedYAMLError) -> str:
        mark = error.problem_mark
        lines = self._text.splitlines()
        if mark is not None and mark.line < len(lines) and lines[mark.line][mark.column : mark.column + 1] == "\t":
            return "a tab; indent with spaces"
        start = error.context_mark
        context = f" {error.context} from line {start.line + 1}" if error.context and start is not None else ""
        return one_line(f"{error.problem or ''}{context}")

    def _node(self, depth: int) -> Node:
        event = self._events.get_event()
        if depth > MAX_DEPTH:
            self._fail(event.start_mark, f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self._anchored(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node = Node(event.start_mark.line + 1, event.start_mark.column + 1, event.tag or "")
        if isinstance(event, yaml.ScalarEvent):
            node.text = event.value
            if node.tag in ("", "!"):
                node.tag = self._events.resolve(yaml.ScalarNode, event.value, event.implicit)
        elif isinstance(event, yaml.SequenceStartEvent):
            node.items = self._items(depth + 1)
        else:
            node.entries = self._entries(depth + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _items(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while not self._events.check_event(yaml.SequenceEndEvent):
            items.append(self._node(depth))
        self._events.get_event()
        return items

    def _entries(self, depth: int) -> list[tuple[Node, Node]]:
        entries: list[tuple[Node, Node]] = []
        while not self._events.check_event(yaml.MappingEndEvent):
            key = self._node(depth)
            entries.append((key, self._node(depth)))
        self._events.get_event()
        return entries

    def _anchored(self, alias: yaml.AliasEvent) -> Node:
        name: Any = alias.anchor
        node = self._anchors.get(name)
        if node is None:
            reason = "stands within what it refers to" if name in self._anchors else "refers to no anchor"
            self._fail(alias.start_mark, f"*{name} {reason}")
        return node
