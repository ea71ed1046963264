"""The error of a byte stream that broke. Apart from the others, since only those who use streams need anyio."""

from __future__ import annotations

from typing import Any

import grpc
from anyio import BrokenResourceError

from .errors import DriverError, ExporterLost, error_of_call


class StreamBroken(DriverError, BrokenResourceError):
    """A byte stream ended without its clean end: the device, the exporter or the connection failed."""


class StreamLost(StreamBroken, ExporterLost):
    """A byte stream ended because its exporter went away."""


async def broken_stream(call: Any, error: BrokenResourceError, driver: str, operation: str) -> Exception:
    """What to raise when a stream broke while it was used: what the exporter says of it, if it ended the call."""
    if not call.done() or await call.code() is grpc.StatusCode.OK:
        return error
    failure = await error_of_call(call, driver, operation)
    kind = StreamLost if isinstance(failure, ExporterLost) else StreamBroken
    return kind(failure.message, failure.hint, **failure.parts())
