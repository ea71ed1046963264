"""What is wrong with a configuration: every problem found, each on one line."""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..common.convert import ConversionError
from ..common.exceptions import ConfigurationError
from ..common.text import one_line
from .place import Place

_WANTS_TEXT = re.compile(r"(expected|or|,) str\b")


class InvalidConfigurationError(ConfigurationError):
    """A configuration is wrong; `problems` has one line for each thing: `FILE:LINE:COL path: what is wrong`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return self.message  # the cause stands in its line already


class ConfigurationNotFoundError(InvalidConfigurationError, builtins.FileNotFoundError):
    """There is no such configuration file."""


@dataclass
class Problems:
    """Problems as they are found."""

    found: list[tuple[Place, str]] = field(default_factory=list[tuple[Place, str]])

    def add(self, place: Place, message: str) -> None:
        """Remember what is wrong at a place."""
        self.found.append((place, one_line(message)))

    def add_conversion(self, place: Place, error: ConversionError, *, secret: bool = False) -> None:
        """Remember that a value does not fit; the part of it that does not, in the words of the file."""
        for step in error.path:
            place /= step
        mark = place.mark
        written = mark.text if mark is not None else None
        if secret:
            message = f"{error.reason}, got {type(error.value).__name__}; the value is not shown"
        elif written is not None and _WANTS_TEXT.search(error.reason):
            kind = "nothing" if error.value is None else type(error.value).__name__
            message = f'{error.reason}, got {written} ({kind}); write it as "{written}"' if written else error.problem
        else:
            message = error.problem
        self.add(place, message)

    def error(self) -> InvalidConfigurationError | None:
        """The error that reports all, in the order of the file; None where nothing is wrong."""
        if not self.found:
            return None
        in_order = sorted(self.found, key=lambda problem: problem[0].position)
        return InvalidConfigurationError(list(dict.fromkeys(f"{place}: {message}" for place, message in in_order)))

    def raise_any(self) -> None:
        """Raise the error, where something is wrong."""
        if error := self.error():
            raise error


def wrong(place: Place, message: str) -> InvalidConfigurationError:
    """The error for one problem."""
    return InvalidConfigurationError([f"{place}: {one_line(message)}"])
