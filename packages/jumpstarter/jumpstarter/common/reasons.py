"""Why an exporter cannot be reached, or was lost, in words a user can act on instead of gRPC's own."""

from __future__ import annotations

import re
from pathlib import Path

_REASONS = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted here; give the authority that signed it (--tls-ca)"),
    ("Hostname Verification", "its certificate is for another name; use the name that it has"),
    ("WRONG_VERSION_NUMBER|handshake failed", "what listens there does not speak our TLS; is it clear text?"),
    ("SETTINGS frame|parsing HTTP/2", "what listens there is no exporter; check the address"),
    ("Socket closed|Connection reset", "it closed the connection; does it speak TLS?"),
    ("Connection refused", "connection refused; is it running?"),
    ("No such file or directory", "there is no such socket; is it running?"),
    ("lookup|[Nn]ame not found|resolv", "the host name is not known; check its spelling"),
    ("unreachable|No route", "there is no way to that host; is the network up?"),
    ("[Tt]imed? ?out|[Dd]eadline|Handshake read failed", "no answer in time; is it running, and an exporter?"),
)

_LOST = (
    ("Cancelling all calls|GOAWAY", "it was stopped; start it again"),
    ("[Ss]ocket closed|Connection reset|Broken pipe|Stream removed", "the connection ended; is it still running?"),
    ("keepalive|ping", "it no longer answers; are its host and the network up?"),
    ("Connection refused|No such file", "nothing answers there any more; is it still running?"),
    ("connect", "it cannot be reached any more; is it still running?"),
)


def plain_reason(details: str, where: str = "") -> str:
    """The reason behind the details of an UNAVAILABLE or DEADLINE_EXCEEDED that came before the first answer."""
    if reason := _no_address(where):
        return reason
    for pattern, reason in _REASONS:
        if re.search(pattern, details):
            return reason
    return f"{details.rpartition('last error: ')[2]}; is it running?"


def is_forbidden(details: str) -> bool:
    """Whether a socket is there that this user must not use."""
    return "permission denied" in details.lower()


def lost_reason(details: str) -> str | None:
    """The reason behind the details of an UNAVAILABLE during a call; None where they are not gRPC's own."""
    return next((reason for pattern, reason in _LOST if re.search(pattern, details)), None)


def _no_address(where: str) -> str | None:
    """What is wrong with an address that nothing could ever answer at."""
    if not where:
        return None
    path = Path(where.removeprefix("unix:"))
    try:
        if path.exists():
            return None if path.is_socket() else "this is no socket; give the path that jmp run says"
    except OSError:
        return None
    if not re.search(r"[/: ]", where):
        return "this is neither HOST:PORT nor the path of a socket; check JUMPSTARTER_HOST"
    return None
