"""The error of a byte stream that broke. Apart from the others, since only those who use streams need anyio."""

from __future__ import annotations

from typing import Any

import grpc
from anyio import BrokenResourceError
from google.protobuf.message import DecodeError
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from .errors import DriverError, ExporterLost, driver_error, error_of_call, rpc_error

_SAYS_NOTHING = (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED)
"""How a call ends whose stream broke at our own end: it was cancelled then."""


class StreamBroken(DriverError, BrokenResourceError):
    """A byte stream ended without its clean end: the device, the exporter or the connection failed."""


class StreamLost(StreamBroken, ExporterLost):
    """A byte stream ended because its exporter went away."""


def unused(driver: str, operation: str) -> StreamBroken:
    """What to raise when a stream was closed, and its device has not taken all bytes in time."""
    from ..streams.router import FINISH_TIMEOUT

    reason = f"the last bytes may be lost: the device did not take them in {FINISH_TIMEOUT:g} s"
    hint = "see whether it holds its input back"
    place = f"{driver}.{operation}" if driver else operation
    return StreamBroken(f"{place}: {reason}", hint, driver=driver, operation=operation, reason=reason)


async def broken_stream(
    call: Any, reset: bytes | None, error: BrokenResourceError, driver: str, operation: str
) -> Exception:
    """What to raise when a stream broke while it was used: what the exporter says of it, if it ended the call.

    `reset` is what it said when it reset the stream, and not the call.
    """
    if reset:
        try:
            failure = driver_error(rpc_error(pb.CallFailure.FromString(reset)), driver, operation)
        except DecodeError:
            return error
    elif not call.done() or await call.code() in _SAYS_NOTHING:
        return error
    else:
        failure = await error_of_call(call, driver, operation)
    kind = StreamLost if isinstance(failure, ExporterLost) else StreamBroken
    return kind(failure.message, failure.hint, **failure.parts())
