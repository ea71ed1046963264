"""The error of a byte stream that broke. Apart from the others, since only those who use streams need anyio."""

from __future__ import annotations

from typing import Any

import grpc
from anyio import BrokenResourceError

from .errors import DriverError, ExporterLost, error_of_call


class StreamBroken(DriverError, BrokenResourceError):
    """A byte stream ended without its clean end: the device, the exporter or the connection failed."""


async def broken_stream(call: Any, error: BrokenResourceError, driver: str, operation: str) -> Exception:
    """What to raise when a stream broke while it was used: what the exporter says of it, if it ended the call."""
    if not call.done() or await call.code() is grpc.StatusCode.OK:
        return error
    failure = await error_of_call(call, driver, operation)
    if isinstance(failure, ExporterLost):
        return failure
    return StreamBroken(failure.message, failure.hint, **failure.parts())
