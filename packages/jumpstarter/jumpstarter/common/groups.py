"""Exception groups, taken apart: a user is told what happened, not that tasks were involved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside a group, at any depth; an error that is no group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(inner)
    else:
        yield error


def ungrouping(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The asynchronous function, with `ungrouped` around it."""

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with ungrouped():
            return await function(*args, **kwargs)

    return call


@contextmanager
def ungrouped() -> Generator[None]:
    """Raise what a task group inside wraps: the first of its errors, with the others as notes.

    Only the group's own wrapping is taken off; a group that the body itself raised stays one.
    """
    try:
        yield
    except BaseExceptionGroup as e:
        first, *others = sorted(e.exceptions, key=lambda inner: isinstance(inner, Exception))
        for other in others:
            first.add_note(f"and also: {type(other).__name__}: {other}")
        raise first from first.__cause__
