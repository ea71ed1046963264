"""The marks by which a method of a driver can be reached from a client.

A mark is an attribute of the function with a fixed value, so a marked function stays what it was, and
code marked by another implementation is understood.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isasyncgenfunction, isfunction, isgeneratorfunction, ismethod
from typing import TypeVar

MARKER_MAGIC = "07c9b9cc"
MARKER_DRIVERCALL = "marker_drivercall"
MARKER_STREAMCALL = "marker_streamcall"
MARKER_STREAMING_DRIVERCALL = "marker_streamingdrivercall"

F = TypeVar("F", bound=Callable[..., object])


def _mark(func: F, marker: str) -> F:
    setattr(func, marker, MARKER_MAGIC)
    return func


def export(func: F) -> F:
    """Let clients call this method; a generator's items reach the client one by one.

    Plain functions and generators run in a worker thread, one at a time per driver; async ones on the event loop.
    An override in a subclass needs the mark again. Raises ValueError for what is not a function.
    """
    function: object = func  # the checks below must not narrow the type that is returned
    is_function = isfunction(function) or ismethod(function) or callable(getattr(function, "__wrapped__", None))
    if not is_function:
        raise ValueError(f"only a function can be exported, not {func!r}")
    streaming = isgeneratorfunction(function) or isasyncgenfunction(function)
    return _mark(func, MARKER_STREAMING_DRIVERCALL if streaming else MARKER_DRIVERCALL)


def exportstream(func: F) -> F:
    """Let clients open this async context manager as a byte stream.

    It takes no arguments and yields an anyio stream of `bytes`, with `send_eof` where one direction can end first.
    """
    return _mark(func, MARKER_STREAMCALL)
