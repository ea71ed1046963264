"""What can go wrong, in one table: the exception, its code, the status on the wire, the exit status of a command.

A code is a stable word for programs. The statuses are the public exporter's: other peers see nothing new.
"""

from __future__ import annotations

from typing import NamedTuple

from . import exceptions


class Kind(NamedTuple):
    """What a code stands for."""

    status: str
    """Name of the gRPC status."""

    exit: int
    """Exit status of a command that ends with it."""


KINDS: dict[str, Kind] = {
    # what a driver, or the way to it, raises
    "invalid-argument": Kind("INVALID_ARGUMENT", 70),
    "not-implemented": Kind("UNIMPLEMENTED", 70),
    "unknown-method": Kind("NOT_FOUND", 70),
    "unknown-driver": Kind("NOT_FOUND", 69),
    "timeout": Kind("DEADLINE_EXCEEDED", 70),  # of the device
    "deadline": Kind("DEADLINE_EXCEEDED", 70),  # of the call
    "absent": Kind("UNKNOWN", 70),
    "faulty": Kind("UNKNOWN", 70),
    "stuck": Kind("UNKNOWN", 70),
    "io": Kind("UNKNOWN", 70),
    "stream-broken": Kind("UNAVAILABLE", 70),
    "limit": Kind("RESOURCE_EXHAUSTED", 70),
    "busy": Kind("FAILED_PRECONDITION", 75),
    "not-ready": Kind("FAILED_PRECONDITION", 75),
    "session-ended": Kind("FAILED_PRECONDITION", 69),
    "stopping": Kind("UNAVAILABLE", 69),
    "hook-failed": Kind("FAILED_PRECONDITION", 70),
    "not-allowed": Kind("PERMISSION_DENIED", 77),
    "configuration": Kind("UNKNOWN", 65),
    "failed": Kind("UNKNOWN", 70),
    # what a client finds
    "unauthenticated": Kind("UNAUTHENTICATED", 77),
    "cancelled": Kind("CANCELLED", 70),
    "exporter-lost": Kind("UNAVAILABLE", 69),
    "unreachable": Kind("UNAVAILABLE", 69),
    "no-exporter": Kind("UNAVAILABLE", 69),
    "missing-driver": Kind("UNKNOWN", 70),
    "usage": Kind("INVALID_ARGUMENT", 2),
}

_RAISED: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.NotReady, "not-ready"),
    (exceptions.UnknownInstance, "unknown-driver"),
    (exceptions.UnknownMethod, "unknown-method"),
    (exceptions.BusyError, "busy"),
    (exceptions.SessionEndedError, "session-ended"),
    (exceptions.ExporterStoppingError, "stopping"),
    (exceptions.HookFailedError, "hook-failed"),
    (exceptions.DeviceAbsentError, "absent"),
    (exceptions.DeviceFaultyError, "faulty"),
    (exceptions.DriverStuckError, "stuck"),
    (exceptions.LimitError, "limit"),
    (exceptions.CallTimeoutError, "deadline"),
    (exceptions.NotAllowedError, "not-allowed"),
    (exceptions.ReauthenticationFailed, "not-allowed"),
    (exceptions.ConfigurationError, "configuration"),
    (exceptions.FileNotFoundError, "configuration"),
    (exceptions.EnvironmentVariableNotSetError, "no-exporter"),
    (exceptions.ConnectionError, "unreachable"),
    (exceptions.MissingDriverError, "missing-driver"),
    (exceptions.ArgumentError, "usage"),
    (NotImplementedError, "not-implemented"),
    (ValueError, "invalid-argument"),
    (TimeoutError, "timeout"),
    (OSError, "io"),
)
"""The first row that fits counts."""

_ONLY_HERE = {"usage", "unreachable", "no-exporter", "missing-driver"}
"""Codes that speak of this process: what a driver raises of them says nothing of that kind to its client."""


def code_of(error: BaseException) -> str:
    """The code of an exception; an error that came over the wire has one of its own."""
    code = getattr(error, "code", None)
    if isinstance(code, str) and code in KINDS:
        return code
    return next((code for kind, code in _RAISED if isinstance(error, kind)), "failed")


def code_for_peer(error: BaseException) -> str:
    """The code of what a driver raised."""
    if isinstance(error, exceptions.FileNotFoundError):
        return "io"
    code = code_of(error)
    if code in _ONLY_HERE or code in ("exporter-lost", "unauthenticated", "cancelled"):
        return next((code for kind, code in _RAISED[-4:] if isinstance(error, kind)), "failed")
    return code


def status_of(code: str) -> str:
    """Name of the gRPC status for a code; UNKNOWN for one of a later version."""
    return KINDS[code].status if code in KINDS else "UNKNOWN"


def exit_of(code: str) -> int:
    """Exit status for a code."""
    return KINDS[code].exit if code in KINDS else 70
