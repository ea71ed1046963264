"""The marks by which a method of a driver can be reached from a client.

A mark is an attribute of the function with a fixed value, so a marked function stays what it was, and
code marked by another implementation is understood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import isasyncgenfunction, isfunction, isgeneratorfunction, ismethod
from typing import TypeVar, overload

MARKER_MAGIC = "07c9b9cc"
MARKER_DRIVERCALL = "marker_drivercall"
MARKER_STREAMCALL = "marker_streamcall"
MARKER_STREAMING_DRIVERCALL = "marker_streamingdrivercall"

F = TypeVar("F", bound=Callable[..., object])


def _mark(func: F, marker: str) -> F:
    setattr(func, marker, MARKER_MAGIC)
    return func


OPTIONS = "jumpstarter_options"
"""Attribute of a marked function that holds its `Options`; absent where it has none but the defaults."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How calls of an exported method are run."""

    concurrent: bool = False
    """It may run while other methods of the same driver do."""

    urgent: bool = False
    """It goes ahead of the calls that wait, and is taken when no more may wait: switching off, making safe."""

    read_only: bool = False
    """It changes nothing, so somebody who does not hold the session may call it where the exporter allows that."""

    timeout: float | None = None
    """Seconds that a call may take; the driver's `call_timeout` if None."""


DEFAULT_OPTIONS = Options()


@overload
def export(func: F) -> F: ...
@overload
def export(
    *, concurrent: bool = False, urgent: bool = False, read_only: bool = False, timeout: float | None = None
) -> Callable[[F], F]: ...


def export(
    func: F | None = None,
    *,
    concurrent: bool = False,
    urgent: bool = False,
    read_only: bool = False,
    timeout: float | None = None,
) -> F | Callable[[F], F]:
    """Let clients call this method; a generator's items reach the client one by one.

    Plain functions and generators run in the driver's worker thread and coroutines on the event loop, one at a time per
    driver unless `concurrent`. An `urgent` one goes ahead of those that wait. A `read_only` one may be called by
    observers. `timeout` is in seconds. An override in a subclass needs the mark again. Raises ValueError for what is
    not a function.
    """

    def mark(func: F) -> F:
        options = Options(concurrent=concurrent, urgent=urgent, read_only=read_only, timeout=timeout)
        if options != DEFAULT_OPTIONS:
            setattr(func, OPTIONS, options)
        return _mark(func, _marker_of(func))

    return mark if func is None else mark(func)


def _marker_of(function: object) -> str:
    if not (isfunction(function) or ismethod(function) or callable(getattr(function, "__wrapped__", None))):
        raise ValueError(f"only a function can be exported, not {function!r}")
    streaming = isgeneratorfunction(function) or isasyncgenfunction(function)
    return MARKER_STREAMING_DRIVERCALL if streaming else MARKER_DRIVERCALL


def exportstream(func: F) -> F:
    """Let clients open this async context manager as a byte stream.

    It takes no arguments and yields an anyio stream of `bytes`, with `send_eof` where one direction can end first.
    """
    return _mark(func, MARKER_STREAMCALL)
