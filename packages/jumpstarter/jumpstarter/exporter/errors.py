"""What an exception becomes on the wire: a gRPC status code, and one text."""

from __future__ import annotations

from typing import cast

import grpc
from anyio import BrokenResourceError
from google.protobuf.message import DecodeError

from ..common.limits import MAX_DETAILS
from .session import NotReady, UnknownInstance, UnknownMethod

DRIVER_FAILURES = (Exception, SystemExit, KeyboardInterrupt)
"""What a driver may raise without ending the exporter: the call fails, whatever it was."""

_CODES: tuple[tuple[type[BaseException], grpc.StatusCode], ...] = (
    (NotReady, grpc.StatusCode.FAILED_PRECONDITION),
    (UnknownInstance, grpc.StatusCode.NOT_FOUND),
    (UnknownMethod, grpc.StatusCode.NOT_FOUND),
    (NotImplementedError, grpc.StatusCode.UNIMPLEMENTED),
    (ValueError, grpc.StatusCode.INVALID_ARGUMENT),
    (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
)


def status_of(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """Code and text of the status for what a driver, or the way to it, raised."""
    error = _leaf(error)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, _text(error)
    return grpc.StatusCode.UNKNOWN, _text(error)


def stream_status_of(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """The same for what broke an open byte stream: the device is not available."""
    error = _leaf(error)
    cause = error.__cause__ or error
    if isinstance(cause, DecodeError):
        return grpc.StatusCode.INVALID_ARGUMENT, f"the frame is malformed: {cause}"
    if isinstance(error, BrokenResourceError | OSError):
        return grpc.StatusCode.UNAVAILABLE, _text(cause)
    return status_of(error)


def _leaf(error: BaseException) -> BaseException:
    """The one error inside a group of one, at any depth."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return _leaf(group.exceptions[0]) if len(group.exceptions) == 1 else group
    return error


def _text(error: BaseException) -> str:
    text = "; ".join([str(error) or type(error).__name__, *getattr(error, "__notes__", ())])
    if isinstance(error, SystemExit | KeyboardInterrupt | LookupError) and not isinstance(
        error, UnknownInstance | UnknownMethod
    ):
        text = f"{type(error).__name__}: {error}"
    return text if len(text) <= MAX_DETAILS else f"{text[:MAX_DETAILS]}…"
