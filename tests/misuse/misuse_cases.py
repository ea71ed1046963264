"""The cases, by name: a function that misuses something and says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from misuse_bench import Bench, Said

Case = Callable[["Bench"], "Said"]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Add a case; the name says what is wrong."""

    def added(function: Case) -> Case:
        assert name not in CASES, name
        CASES[name] = function
        return function

    return added


def command(name: str, *arguments: str) -> None:
    """Add a case of a command that fails by itself, whatever runs."""
    case(name)(lambda bench: bench.run(*arguments))
