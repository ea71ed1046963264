"""Why nothing answers at an address, in words a user can act on instead of gRPC's own."""

from __future__ import annotations

import re

import grpc

from ..common.exceptions import ExporterUnreachableError
from .errors import driver_error

_SILENT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}

_REASONS = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted here; give the authority that signed it"),
    ("Hostname Verification", "its certificate is for another name; use the name that it has"),
    ("WRONG_VERSION_NUMBER|handshake failed", "what listens there does not speak our TLS; is it clear text?"),
    ("SETTINGS frame|parsing HTTP/2", "what listens there is no exporter"),
    ("Socket closed|Connection reset", "it closed the connection; does it speak TLS?"),
    ("Connection refused", "connection refused; is it running?"),
    ("No such file or directory", "there is no such socket; is it running?"),
    ("[Pp]ermission denied", "permission denied; is it another user's?"),
    ("lookup|[Nn]ame not found|resolv", "the host name is not known"),
    ("unreachable|No route", "there is no way to that host; is the network up?"),
    ("[Tt]imed? ?out|[Dd]eadline", "no answer in time; is it running, and an exporter?"),
)


def unreachable(error: grpc.RpcError, where: str) -> Exception:
    """What to raise when the first call to an exporter fails: mostly that nothing answers there."""
    code = error.code()  # pyright: ignore[reportAttributeAccessIssue] the errors of both stubs have it
    if code not in _SILENT:
        return driver_error(error, "", where)
    details = error.details()  # pyright: ignore[reportAttributeAccessIssue]
    return ExporterUnreachableError(f"no exporter answers at {where}: {plain_reason(details or code.name)}")


def plain_reason(details: str) -> str:
    """The reason behind the details of an UNAVAILABLE or DEADLINE_EXCEEDED that came before the first answer."""
    for pattern, reason in _REASONS:
        if re.search(pattern, details):
            return reason
    return f"{details.rpartition('last error: ')[2]}; is it running?"
