"""The golden file: for every case its name, what was done, how it ended and what was said."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

HEAD = """\
What users are told when they do something wrong, or something breaks: the name of each case, what was done, the exit
status or exception, and the line. A line says what, where, why and what to do. It is compared by test_misuse_golden.py;
JMP_UPDATE_GOLDEN=1 writes down what is said now, for review.
"""


class Golden:
    """Sections by the name of their case."""

    def __init__(self, path: Path, *, update: bool) -> None:
        self._path, self.update = path, update
        text = path.read_text() if path.exists() else ""
        self.sections = dict(_section(part) for part in text.split("\n# ")[1:])
        self._seen: dict[str, str] = {}

    def expected(self, name: str, said: str) -> str:
        """What the case said when it was last reviewed; when updating, what it says now."""
        if self.update:
            self._seen[name] = said
            return said
        return self.sections.get(name, "")

    def keep(self, names: Collection[str]) -> None:
        """Forget the cases that there are no more."""
        self.sections = {name: said for name, said in self.sections.items() if name in names}

    def save(self) -> None:
        """Write the file anew, if that is wanted: cases in the order in which they ran, then those that did not run."""
        if not self._seen:
            return
        rest = {name: said for name, said in self.sections.items() if name not in self._seen}
        merged = {name: self._seen.get(name, said) for name, said in self.sections.items()} | self._seen
        ordered = merged if rest else self._seen
        parts = [f"# {name}\n{said}\n" for name, said in ordered.items()]
        self._path.write_text("\n".join([HEAD, *parts]))


def _section(part: str) -> tuple[str, str]:
    name, _, said = part.partition("\n")
    return name, said.strip("\n")
