"""The errors that the calls of a client raise, made from a call's status and the details that came with it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common import exceptions
from ..common.limits import MAX_MESSAGE
from ..common.metadata import ERROR_METADATA_KEY
from ..common.reasons import is_forbidden, lost_reason, plain_reason
from ..common.text import printable


class DriverError(exceptions.JumpstarterException):
    """A driver or its device failed; the message has the driver's own text.

    `str()` is one line: where, what, why; what to do. The attributes have the same in parts.
    """

    code: str = "failed"
    """Stable word for programs: `absent`, `busy`, `invalid-argument`, ..."""

    driver: str = ""
    """Path of the driver, its names from the root joined by dots."""

    device: str = ""
    """Identity of the physical device, where the driver knows one."""

    operation: str = ""
    """The method that failed."""

    reason: str = ""
    """The message without the place."""

    causes: Sequence[str] = ()
    """Class and text of the exceptions behind it, the direct one first."""

    remote_traceback: str = ""
    """The exporter's traceback, where JMP_DEBUG asked for it."""

    def __init__(
        self,
        message: str = "",
        hint: str = "",
        *,
        code: str = "",
        driver: str = "",
        device: str = "",
        operation: str = "",
        reason: str = "",
        causes: Sequence[str] = (),
        remote_traceback: str = "",
    ) -> None:
        super().__init__(message, hint)
        self.code = code or _code_of(type(self))
        self.driver = driver
        self.device = device
        self.operation = operation
        self.reason = reason or message
        self.causes = tuple(causes)
        self.remote_traceback = remote_traceback
        if remote_traceback:
            self.add_note(f"\nOn the exporter:\n{remote_traceback}")

    def __str__(self) -> str:
        text = self.message or Exception.__str__(self)
        return f"{text}; {self.hint}" if self.hint else text

    def parts(self) -> dict[str, Any]:
        """What is known beside message and hint, as this class takes it."""
        names = ("code", "driver", "device", "operation", "reason", "causes", "remote_traceback")
        return {name: getattr(self, name) for name in names}


class DriverMethodNotImplemented(DriverError, NotImplementedError):
    """The driver has no such method, or its device cannot do that."""


class DriverInvalidArgument(DriverError, ValueError):
    """An argument that can never work."""


class DriverTimeout(DriverError, TimeoutError):
    """The device did not answer in time."""


class CallDeadlineExceeded(DriverTimeout, exceptions.CallTimeoutError):
    """The call did not end before its deadline."""


class DriverIOError(DriverError, OSError):
    """Cable, port, permission or medium: the operating system of the exporter's host said no."""


class DeviceAbsent(DriverError, exceptions.DeviceAbsentError):
    """The device is not there."""


class DeviceFaulty(DriverError, exceptions.DeviceFaultyError):
    """The device is there and does not work."""


class DriverStuck(DriverError, exceptions.DriverStuckError):
    """An earlier call of the driver does not end."""


class DriverBusy(DriverError, exceptions.BusyError):
    """The session or the device belongs to somebody else; the message says to whom."""


class LimitReached(DriverError, exceptions.LimitError):
    """A limit of the exporter is reached; the message names it."""


class ExporterNotReady(DriverError, exceptions.NotReady):
    """The exporter does not take calls in its present status."""


class ExporterLost(DriverError, exceptions.ConnectionError):
    """The exporter cannot be reached, went away during the call, or has started anew since the client connected."""


class SessionEnded(DriverError, exceptions.SessionEndedError):
    """The session that the call belongs to has ended; the message says why."""


class NotAllowed(DriverError, exceptions.NotAllowedError, PermissionError):
    """The exporter does not let this client in, or not do that."""


_BY_CODE: dict[str, type[DriverError]] = {
    "failed": DriverError,
    "invalid-argument": DriverInvalidArgument,
    "not-implemented": DriverMethodNotImplemented,
    "unknown-method": DriverMethodNotImplemented,
    "deadline": CallDeadlineExceeded,
    "timeout": DriverTimeout,
    "absent": DeviceAbsent,
    "faulty": DeviceFaulty,
    "stuck": DriverStuck,
    "io": DriverIOError,
    "stream-broken": DriverIOError,
    "limit": LimitReached,
    "busy": DriverBusy,
    "not-ready": ExporterNotReady,
    "hook-failed": ExporterNotReady,
    "session-ended": SessionEnded,
    "stopping": ExporterLost,
    "not-allowed": NotAllowed,
    "unauthenticated": NotAllowed,
    "exporter-lost": ExporterLost,
    "unknown-driver": ExporterLost,
    "configuration": DriverError,
    "cancelled": DriverError,
}

_BY_STATUS = {
    grpc.StatusCode.FAILED_PRECONDITION: "not-ready",
    grpc.StatusCode.NOT_FOUND: "unknown-method",
    grpc.StatusCode.UNIMPLEMENTED: "not-implemented",
    grpc.StatusCode.INVALID_ARGUMENT: "invalid-argument",
    grpc.StatusCode.DEADLINE_EXCEEDED: "timeout",
    grpc.StatusCode.UNAVAILABLE: "exporter-lost",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "limit",
    grpc.StatusCode.UNAUTHENTICATED: "unauthenticated",
    grpc.StatusCode.PERMISSION_DENIED: "not-allowed",
    grpc.StatusCode.CANCELLED: "cancelled",
}
"""What a status means that comes without details: from gRPC itself, or from another implementation."""


_DEADLINE = "Deadline Exceeded"
"""What gRPC says on this side, also inside another text, when the time of a call is over."""


_NOT_SENT = "Internal error from Core"
"""What gRPC says on this side when it could not send a message of a stream, because the connection is no more."""


def _code_of(cls: type[DriverError]) -> str:
    return next(
        (code for code, known in _BY_CODE.items() if issubclass(cls, known) and known is not DriverError), "failed"
    )


def driver_error(error: grpc.RpcError, driver: str, operation: str, timeout: float | None = None) -> DriverError:
    """The exception for a call that failed, of a method of the driver with that path, with its deadline in seconds."""
    call: Any = error  # the errors of both stubs have the call's outcome
    details: str = call.details() or ""
    if timeout is not None and call.code() is grpc.StatusCode.DEADLINE_EXCEEDED and _DEADLINE in details:
        details = f"{_DEADLINE} after {timeout:g} s"
    failure = error_of(call.code(), details, driver, operation, call.trailing_metadata())
    failure.__cause__ = error
    return failure


def rpc_error(failure: pb.CallFailure) -> grpc.aio.AioRpcError:
    """The error that a call of its own would have raised, for one that shares a gRPC call with others."""
    status = next((status for status in grpc.StatusCode if status.value[0] == failure.status), grpc.StatusCode.UNKNOWN)
    trailing = grpc.aio.Metadata()
    if failure.HasField("error"):
        trailing = grpc.aio.Metadata((ERROR_METADATA_KEY, failure.error.SerializeToString()))
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), trailing, details=failure.text)


class CallEnd:
    """How a gRPC call ended that carried others."""

    def __init__(self, status: grpc.StatusCode, text: str, metadata: Any) -> None:
        self.status = status
        self.text = text
        self.metadata = metadata

    @classmethod
    def of(cls, status: grpc.StatusCode, text: str | None, metadata: Any) -> CallEnd:
        """The end; that of a call that should have gone on is an error, too."""
        if status is grpc.StatusCode.OK:
            return cls(grpc.StatusCode.UNAVAILABLE, "the exporter ended the stream of calls", metadata)
        return cls(status, text or "", metadata)

    def error(self) -> grpc.aio.AioRpcError:
        """What each of them raises."""
        return grpc.aio.AioRpcError(self.status, grpc.aio.Metadata(), self.metadata, details=self.text)


def unreachable(error: grpc.RpcError, where: str) -> Exception:
    """What to raise when the first call to an exporter fails: mostly that nothing answers there."""
    code = error.code()  # pyright: ignore[reportAttributeAccessIssue] the errors of both stubs have it
    if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return driver_error(error, "", where)
    details = error.details()  # pyright: ignore[reportAttributeAccessIssue]
    if is_forbidden(details or ""):
        return exceptions.NotAllowedError(f"{where}: permission denied", "the exporter belongs to another user")
    return exceptions.ExporterUnreachableError(
        f"no exporter answers at {where}: {plain_reason(details or code.name, where)}"
    )


@contextmanager
def translate_grpc_exceptions() -> Generator[None]:
    """Raise what gRPC raises inside as ConnectionError with what was said, and a ValueError as ConfigurationError."""
    try:
        yield
    except grpc.RpcError as e:
        failure: Any = e
        details = printable(str(failure.details() or failure.code().name))
        raise exceptions.ConnectionError(plain_reason(details) or details) from e
    except ValueError as e:
        raise exceptions.ConfigurationError(str(e)) from e


async def error_of_call(call: Any, driver: str, operation: str) -> DriverError:
    """The exception for an asynchronous call that has ended without success."""
    return error_of(await call.code(), await call.details(), driver, operation, await call.trailing_metadata())


def error_of(
    status: grpc.StatusCode, text: str | None, driver: str, operation: str, metadata: Any = None
) -> DriverError:
    """The exception for the status of a call and its trailing metadata."""
    details = _details(metadata) or _from_status(status, text or status.name)
    for field in ("code", "driver", "device", "message", "hint", "traceback"):  # they may reach a terminal as they are
        setattr(details, field, printable(getattr(details, field)))
    driver = driver or details.driver
    where = ".".join(name for name in (driver, operation) if name)
    kind = _BY_CODE.get(details.code) or _BY_CODE[_BY_STATUS.get(status, "failed")]
    return kind(
        f"{where}: {details.message}" if where else details.message,
        details.hint,
        code=details.code,
        driver=driver,
        device=details.device,
        operation=operation,
        reason=details.message,
        causes=[printable(cause) for cause in details.causes],
        remote_traceback=details.traceback,
    )


def _details(metadata: Any) -> pb.ErrorDetails | None:
    """What our own exporters say beside the status."""
    for key, value in metadata or ():
        if key == ERROR_METADATA_KEY:
            try:
                return pb.ErrorDetails.FromString(value)
            except DecodeError:
                return None
    return None


def _from_status(status: grpc.StatusCode, text: str) -> pb.ErrorDetails:
    """The details that a status alone stands for."""
    code, hint = _BY_STATUS.get(status, "failed"), ""
    if status is grpc.StatusCode.INTERNAL and text == _NOT_SENT:
        code, text = "exporter-lost", "the exporter is gone: the connection broke"
        return pb.ErrorDetails(code=code, message=text, hint="is it still running?")
    match code:
        case "limit" if "larger than max" in text:
            code, text = "invalid-argument", f"more data than one message carries ({MAX_MESSAGE >> 20} MiB)"
            hint = "use a byte stream or a file"
        case "exporter-lost" if (reason := lost_reason(text)) is not None:
            text, _, hint = f"the exporter is gone: {reason}".partition("; ")
        case "timeout" if _DEADLINE in text:
            waited = text.partition(f"{_DEADLINE} after ")[2] or "the time that the call had"
            code, text, hint = "deadline", f"no answer within {waited}", "give it more with timeout="
        case "unauthenticated":
            hint = "give the right one with --passphrase-file FILE or JMP_GRPC_PASSPHRASE"
        case _:
            pass
    return pb.ErrorDetails(code=code, message=text, hint=hint)
