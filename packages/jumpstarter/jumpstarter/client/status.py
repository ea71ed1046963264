"""The status of an exporter as its client sees it, and every change of it as it comes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any

import grpc
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.enums import ExporterStatus
from ..common.holders import describe
from ..common.limits import CONNECT_TIMEOUT, STATUS_WAIT
from .errors import driver_error

_POLL = 0.3
"""Seconds between two questions to an exporter that answers at once whether there is news or not."""

_PROMPT = 1.0
"""Seconds within which such an exporter answers."""


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """A status of an exporter."""

    status: ExporterStatus
    message: str = ""
    version: int = 0
    """Grows by one with every change."""

    previous: ExporterStatus | None = None
    holder: str | None = None
    """Who has the session, since when and what for, in one line; None if nobody has, or the exporter cannot say."""


class _Follower:
    """What to ask for next, and what an answer means."""

    def __init__(self, interval: float = _POLL) -> None:
        self._interval = interval
        self._version: int | None = None
        self._asked = 0.0

    def request(self) -> pb.GetStatusRequest:
        self._asked = time.monotonic()
        return pb.GetStatusRequest(after_version=self._version)

    def take(self, response: pb.GetStatusResponse) -> tuple[StatusChange | None, float]:
        """The news in an answer, if there is any, and how long to wait before the next question."""
        if response.status_version == self._version:
            return None, self._interval if time.monotonic() - self._asked < _PROMPT else 0
        self._version = response.status_version
        return _change(response), 0


def _change(response: pb.GetStatusResponse) -> StatusChange:
    holder = response.holder
    previous = ExporterStatus.from_proto(response.previous_status) if response.HasField("previous_status") else None
    return StatusChange(
        status=ExporterStatus.from_proto(response.status),
        message=response.message,
        version=response.status_version,
        previous=previous,
        holder=describe(holder.user, holder.host, holder.pid, holder.since.seconds, holder.purpose)
        if response.HasField("holder")
        else None,
    )


def follow(stub: Any) -> Generator[StatusChange]:
    """The status now, and every later one, by the blocking calls of an exporter. Ends if that has no status."""
    follower = _Follower()
    while True:
        try:
            response = stub.GetStatus(follower.request(), timeout=STATUS_WAIT + CONNECT_TIMEOUT)
        except grpc.RpcError as e:
            if _has_none(e):
                return
            raise driver_error(e, "", "status") from e
        change, pause = follower.take(response)
        if change is not None:
            yield change
        time.sleep(pause)


async def follow_async(stub: Any, interval: float = _POLL) -> AsyncGenerator[StatusChange]:
    """The same by its asynchronous calls; `interval` is for exporters that do not tell of changes."""
    from anyio import sleep

    follower = _Follower(interval)
    while True:
        try:
            response = await stub.GetStatus(follower.request(), timeout=STATUS_WAIT + CONNECT_TIMEOUT)
        except grpc.RpcError as e:
            if _has_none(e):
                return
            raise driver_error(e, "", "status") from e
        change, pause = follower.take(response)
        if change is not None:
            yield change
        await sleep(pause)


def _has_none(error: grpc.RpcError) -> bool:
    return error.code() is grpc.StatusCode.UNIMPLEMENTED  # pyright: ignore[reportAttributeAccessIssue]
