"""Where in a configuration something stands: the keys that lead to it, and its position in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..common.text import one_line

_PLAIN_STEP = re.compile(r"[^\s.:\[\]\"'\\\x00-\x1f\x7f-\x9f]+")

Path = tuple[object, ...]
"""Keys of mappings and indexes of lists, from the top."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a file, counted from 1; of a key, or of an item in a list."""

    line: int
    column: int
    text: str | None = None
    """What is written there as value, where YAML reads it as something other than text."""

    key_text: str | None = None
    """What is written there as key, where YAML reads it as something other than text."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or a text, with the positions of what it says."""

    name: str
    marks: Mapping[Path, Mark] = field(default_factory=dict[Path, Mark], repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a configuration; without a source, of one that was made in Python."""

    source: Source | None = None
    path: Path = ()

    def __truediv__(self, step: object) -> Place:
        return Place(self.source, (*self.path, step))

    def __str__(self) -> str:
        """`FILE:LINE:COL path`, or the path alone."""
        if self.source is None:
            return self.name
        line, column = self.position
        return f"{one_line(self.source.name)}:{line}:{column} {self.name}"

    @property
    def name(self) -> str:
        """The path as text: `export.power.config.targets[2]`; `file` for the whole of it."""
        text = "".join(self._step(index) for index in range(len(self.path)))
        return text.removeprefix(".") or "file"

    def _step(self, index: int) -> str:
        step = self.path[index]
        mark = self.source.marks.get(self.path[: index + 1]) if self.source else None
        if mark is not None and mark.key_text is not None:
            return f".{one_line(mark.key_text)}"
        if isinstance(step, int) and not isinstance(step, bool):
            return f"[{step}]"
        text = str(step)
        if not _PLAIN_STEP.fullmatch(text):
            text = '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
        return f".{text}"

    @property
    def mark(self) -> Mark | None:
        """Its own mark, None where it does not stand in the file."""
        return self.source.marks.get(self.path) if self.source else None

    @property
    def position(self) -> tuple[int, int]:
        """Line and column of it, or of the nearest thing around it that stands in the file."""
        if self.source is not None:
            for length in range(len(self.path), -1, -1):
                if mark := self.source.marks.get(self.path[:length]):
                    return mark.line, mark.column
        return 1, 1
