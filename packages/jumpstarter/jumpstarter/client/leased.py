"""What a client does around its use of an exporter that it has leased: it waits for it, and ends its session."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import grpc
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.enums import HOOK_WARNING_PREFIX, ExporterStatus
from ..common.exceptions import ExporterOfflineError, HookFailedError
from ..common.limits import HAND_BACK, STATUS_WAIT
from ..common.text import one_line
from .connection import Endpoint, Stub
from .errors import unreachable

_POLL = 0.3
"""Seconds between two looks at the status of an exporter that does not tell of changes."""

_END = 5.0
"""Seconds that an exporter has to take note of the end of a session."""

_FAILED = (ExporterStatus.BEFORE_LEASE_HOOK_FAILED, ExporterStatus.AFTER_LEASE_HOOK_FAILED)


def wait_ready(endpoint: Endpoint, dial_timeout: float, say: Callable[[str], object]) -> str:
    """Wait until the devices can be used; returns a warning of the exporter's, if it has one.

    `say` is told what is waited for. Raises HookFailedError when the script before the lease failed,
    ExporterOfflineError when the exporter stops, ExporterUnreachableError when no connection comes about within
    `dial_timeout` seconds.
    """
    with _stub(endpoint) as stub:
        told = ""
        for status, message in _statuses(stub, endpoint, dial_timeout):
            match status:
                case ExporterStatus.LEASE_READY:
                    return message.removeprefix(HOOK_WARNING_PREFIX) if message.startswith(HOOK_WARNING_PREFIX) else ""
                case ExporterStatus.BEFORE_LEASE_HOOK_FAILED | ExporterStatus.AFTER_LEASE_HOOK_FAILED:
                    raise HookFailedError(message or "the exporter's hook has failed")
                case ExporterStatus.OFFLINE:
                    raise ExporterOfflineError(message or "the exporter stops")
                case ExporterStatus.BEFORE_LEASE_HOOK if not told:
                    told = "the exporter prepares for the lease (beforeLease hook)"
                    say(told)
                case _:
                    pass
        return ""


def end_session(endpoint: Endpoint) -> str:
    """End the session of a lease, and wait until the exporter has taken the devices back.

    Returns what went wrong with that, empty if nothing did. An exporter that is gone, or knows no sessions, has nothing
    to take back.
    """
    with _stub(endpoint) as stub:
        try:
            ended = stub.EndSession(pb.EndSessionRequest(), timeout=_END)
        except grpc.RpcError:
            return ""
        if not ended.success:
            return ""
        deadline = time.monotonic() + HAND_BACK
        try:
            for status, message in _statuses(stub, endpoint, _END):
                is_over = status in (ExporterStatus.AVAILABLE, ExporterStatus.OFFLINE, *_FAILED)
                if is_over:
                    is_wrong = status in _FAILED or message.startswith(HOOK_WARNING_PREFIX)
                    return one_line(message.removeprefix(HOOK_WARNING_PREFIX)) if is_wrong else ""
                if time.monotonic() > deadline:
                    return f"the exporter did not take its devices back within {HAND_BACK:g} s"
        except Exception as e:
            if not hasattr(e, "message"):
                raise
        return ""


def _statuses(stub: Any, endpoint: Endpoint, patience: float) -> Generator[tuple[ExporterStatus, str]]:
    """The exporter's status, and then every change; ends at once where it knows none."""
    version: int | None = None
    timeout, is_waiting = patience, True
    while True:
        try:
            report = stub.GetStatus(
                pb.GetStatusRequest(after_version=version), timeout=timeout, wait_for_ready=is_waiting
            )
        except grpc.RpcError as e:
            if e.code() is grpc.StatusCode.UNIMPLEMENTED:  # pyright: ignore[reportAttributeAccessIssue]
                return
            raise unreachable(e, "the end of the lease's tunnel") from e
        if report.status_version == version:
            time.sleep(_POLL)
        else:
            yield ExporterStatus(report.status), one_line(report.message)
        version, timeout, is_waiting = report.status_version, STATUS_WAIT + _END, False


@contextmanager
def _stub(endpoint: Endpoint) -> Generator[Any]:
    channel = endpoint.open(grpc)
    try:
        yield Stub(channel, endpoint.metadata)
    finally:
        channel.close()
