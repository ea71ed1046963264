"""What a controller does for clients: exporters and leases as plain objects, and its errors as ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from jumpstarter_protocol.jumpstarter.client.v1 import client_pb2
from jumpstarter_protocol.jumpstarter.client.v1.client_pb2_grpc import ClientServiceStub

from ..common.enums import ExporterStatus
from ..common.exceptions import ArgumentError, ConnectionError, NotAllowedError
from ..common.limits import CONNECT_TIMEOUT, CONTROLLER_PATIENCE
from ..common.reasons import plain_reason
from ..common.text import one_line, printable
from .connection import Stub
from .exceptions import ControllerError

_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_GRACE = 5.0
"""Seconds beyond the deadline of a call after which it is given up all the same."""

_FORBIDDEN = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class ControllerAway(ConnectionError):
    """The controller cannot be reached, or does not answer; it may be back later."""


def controller_error(error: grpc.RpcError, where: str) -> Exception:
    """The exception for a call that a controller did not do."""
    failure: Any = error
    code, details = failure.code(), one_line(str(failure.details() or failure.code().name))
    if code in _AWAY:
        return ControllerAway(f"the controller {where} cannot be reached: {plain_reason(details)}")
    if code in _FORBIDDEN:
        return NotAllowedError(f"the controller {where} refuses: {details}", "get a valid token with jmp login")
    return ControllerError(f"the controller {where}: {details}")


def parse_identifier(kind: str, name: str) -> tuple[str, str]:
    """Namespace and name of a resource name. Raises ControllerError where it is none."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != "namespaces" or parts[2] != kind:
        raise ControllerError(f"{one_line(name)!r} is no name of one of the {kind}")
    return printable(parts[1]), printable(parts[3])


def parse_client_identifier(name: str) -> tuple[str, str]:
    """Namespace and name of a client."""
    return parse_identifier("clients", name)


def parse_exporter_identifier(name: str) -> tuple[str, str]:
    """Namespace and name of an exporter."""
    return parse_identifier("exporters", name)


def parse_lease_identifier(name: str) -> tuple[str, str]:
    """Namespace and name of a lease."""
    return parse_identifier("leases", name)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One thing that a controller says of a lease."""

    type: str
    status: bool | None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A lease as its controller knows it."""

    namespace: str
    name: str
    selector: str = ""
    exporter_name: str = ""
    """The exporter that was wished for."""
    duration: timedelta = timedelta()
    effective_duration: timedelta | None = None
    begin_time: datetime | None = None
    effective_begin_time: datetime | None = None
    effective_end_time: datetime | None = None
    """Set when it is over."""
    client: str = ""
    exporter: str = ""
    """The exporter that it has."""
    conditions: Sequence[Condition] = ()
    tags: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def end_time(self) -> datetime | None:
        """When it will be over, or was."""
        if self.effective_end_time is not None or self.effective_begin_time is None:
            return self.effective_end_time
        return self.effective_begin_time + self.duration

    def condition(self, kind: str) -> Condition | None:
        """What is said of one thing."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    @property
    def status(self) -> str:
        """What it is, in one word."""
        for kind in ("Invalid", "Unsatisfiable"):
            if (condition := self.condition(kind)) is not None and condition.status:
                return kind
        if self.effective_end_time is not None:
            ready = self.condition("Ready")
            return ready.reason if ready is not None and ready.reason else "Ended"
        ready = self.condition("Ready")
        return "Ready" if ready is not None and ready.status else "Pending"

    @classmethod
    def from_proto(cls, message: client_pb2.Lease) -> Lease:
        namespace, name = parse_lease_identifier(message.name)
        return cls(
            namespace=namespace,
            name=name,
            selector=printable(message.selector),
            exporter_name=printable(message.exporter_name),
            duration=message.duration.ToTimedelta(),
            effective_duration=message.effective_duration.ToTimedelta()
            if message.HasField("effective_duration")
            else None,
            begin_time=_time(message, "begin_time"),
            effective_begin_time=_time(message, "effective_begin_time"),
            effective_end_time=_time(message, "effective_end_time"),
            client=parse_client_identifier(message.client)[1] if message.client else "",
            exporter=parse_exporter_identifier(message.exporter)[1] if message.exporter else "",
            conditions=[
                Condition(
                    type=printable(condition.type),
                    status={"True": True, "False": False}.get(condition.status),
                    reason=printable(condition.reason),
                    message=one_line(condition.message),
                )
                for condition in message.conditions
            ],
            tags={printable(key): printable(value) for key, value in message.tags.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """An exporter as its controller knows it."""

    namespace: str
    name: str
    labels: dict[str, str] = field(default_factory=dict[str, str])
    online: bool = False
    status: ExporterStatus = ExporterStatus.UNSPECIFIED
    status_message: str = ""
    enabled: bool = True

    @classmethod
    def from_proto(cls, message: client_pb2.Exporter) -> Exporter:
        namespace, name = parse_exporter_identifier(message.name)
        try:
            status = ExporterStatus(message.status)
        except ValueError:  # of a later version
            status = ExporterStatus.UNSPECIFIED
        return cls(
            namespace=namespace,
            name=name,
            labels={printable(key): printable(value) for key, value in message.labels.items()},
            online=message.online,
            status=status,
            status_message=one_line(message.status_message),
            enabled=message.enabled if message.HasField("enabled") else True,
        )


@dataclass(frozen=True, kw_only=True)
class ExporterList:
    """Exporters of a namespace."""

    exporters: list[Exporter]
    next_page_token: str = ""


@dataclass(frozen=True, kw_only=True)
class LeaseList:
    """Leases of a namespace."""

    leases: list[Lease]
    next_page_token: str = ""


class MultipathExporterStub:
    """The calls of an exporter that can be reached by several channels: by the first that is ready, else the last."""

    def __init__(self, channels: Sequence[Any]) -> None:
        """`channels` are of grpc.aio; they stay the caller's."""
        if not channels:
            raise ValueError("there is no channel to the exporter")
        self._stubs = [(channel, Stub(channel)) for channel in channels]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        ready = grpc.ChannelConnectivity.READY
        stub = next((stub for channel, stub in self._stubs if channel.get_state() is ready), self._stubs[-1][1])
        return getattr(stub, name)


class ClientService:
    """The calls of a controller's ClientService on a grpc.aio channel, for one namespace.

    Raises ControllerAway where it cannot be reached, NotAllowedError for a token that it does not accept and
    ControllerError for what else it refuses.
    """

    def __init__(self, channel: Any, namespace: str, *, where: str = "") -> None:
        self._stub: Any = ClientServiceStub(channel)
        self._channel = channel
        self._namespace, self._where = namespace, where

    def _name(self, kind: str, name: str) -> str:
        return f"namespaces/{self._namespace}/{kind}/{name}"

    async def _call(self, method: str, request: Any) -> Any:
        import asyncio

        from anyio import move_on_after  # heavy, and only here is there an event loop

        from ..streams.channels import asked

        def check_connected() -> None:
            if self._channel.get_state() is not grpc.ChannelConnectivity.READY:
                call.cancel()

        timer = asyncio.get_running_loop().call_later(CONNECT_TIMEOUT, check_connected)
        try:
            with move_on_after(CONTROLLER_PATIENCE + _GRACE):  # should gRPC not keep to its own deadline
                call: Any = getattr(self._stub, method)(request, timeout=CONTROLLER_PATIENCE)
                return await asked(lambda: call)
        except grpc.aio.AioRpcError as e:
            raise controller_error(e, self._where) from e
        except ConnectionAbortedError:
            raise ControllerAway(f"the controller {self._where} cannot be reached: no answer in time") from None
        finally:
            timer.cancel()
        raise ControllerAway(f"the controller {self._where} cannot be reached: {method} has not ended")

    async def _pages(self, method: str, request: Any, page_token: str | None) -> tuple[list[Any], str]:
        """The answers to a request for a list, one with `page_token`, else all, and the token of what follows."""
        pages = list[Any]()
        request.page_token = page_token or ""
        while True:
            page = await self._call(method, request)
            pages.append(page)
            last, request.page_token = request.page_token, page.next_page_token
            if not request.page_token or page_token is not None or request.page_token == last:
                return pages, page.next_page_token

    async def GetExporter(self, *, name: str) -> Exporter:
        """One exporter."""
        request = client_pb2.GetExporterRequest(name=self._name("exporters", name))
        return Exporter.from_proto(await self._call("GetExporter", request))

    async def ListExporters(
        self,
        *,
        page_size: int | None = None,
        page_token: str | None = None,
        filter: str | None = None,
        show_hidden_labels: bool = False,
    ) -> ExporterList:
        """The exporters whose labels fit a selector: one page with `page_token`, else all."""
        request = client_pb2.ListExportersRequest(
            parent=f"namespaces/{self._namespace}",
            page_size=page_size or 0,
            filter=filter or "",
            show_hidden_labels=show_hidden_labels,
        )
        pages, token = await self._pages("ListExporters", request, page_token)
        found = [Exporter.from_proto(exporter) for page in pages for exporter in page.exporters]
        return ExporterList(exporters=found, next_page_token=token)

    async def GetLease(self, *, name: str) -> Lease:
        """One lease."""
        return Lease.from_proto(
            await self._call("GetLease", client_pb2.GetLeaseRequest(name=self._name("leases", name)))
        )

    async def ListLeases(
        self,
        *,
        page_size: int | None = None,
        page_token: str | None = None,
        filter: str | None = None,
        only_active: bool = True,
        tag_filter: str | None = None,
    ) -> LeaseList:
        """The leases of the namespace: one page with `page_token`, else all."""
        request = client_pb2.ListLeasesRequest(
            parent=f"namespaces/{self._namespace}",
            page_size=page_size or 0,
            filter=filter or "",
            only_active=only_active,
            tag_filter=tag_filter or "",
        )
        pages, token = await self._pages("ListLeases", request, page_token)
        found = [Lease.from_proto(lease) for page in pages for lease in page.leases]
        return LeaseList(leases=found, next_page_token=token)

    async def CreateLease(
        self,
        *,
        duration: timedelta,
        selector: str | None = None,
        exporter_name: str | None = None,
        begin_time: datetime | None = None,
        lease_id: str | None = None,
        tags: dict[str, str] | None = None,
        allow_disabled: bool = False,
    ) -> Lease:
        """Ask for a lease."""
        lease = client_pb2.Lease(
            selector=selector or "",
            duration=_duration(duration),
            begin_time=_timestamp(begin_time),
            exporter_name=exporter_name or "",
            tags=tags or {},
            allow_disabled=allow_disabled,
        )
        request = client_pb2.CreateLeaseRequest(
            parent=f"namespaces/{self._namespace}", lease_id=lease_id or "", lease=lease
        )
        return Lease.from_proto(await self._call("CreateLease", request))

    async def UpdateLease(
        self,
        *,
        name: str,
        duration: timedelta | None = None,
        begin_time: datetime | None = None,
        client: str | None = None,
    ) -> Lease:
        """Change how long a lease lasts, when it begins, or whose it is."""
        lease = client_pb2.Lease(
            name=self._name("leases", name),
            duration=_duration(duration) if duration is not None else None,
            begin_time=_timestamp(begin_time),
            client=self._name("clients", client) if client is not None else None,
        )
        changes = {"duration": duration, "begin_time": begin_time, "client": client}
        mask = FieldMask(paths=[path for path, value in changes.items() if value is not None])
        if not mask.paths:
            raise ArgumentError("say what to change about the lease")
        return Lease.from_proto(
            await self._call("UpdateLease", client_pb2.UpdateLeaseRequest(lease=lease, update_mask=mask))
        )

    async def DeleteLease(self, *, name: str) -> None:
        """End a lease."""
        await self._call("DeleteLease", client_pb2.DeleteLeaseRequest(name=self._name("leases", name)))

    async def RotateToken(self) -> tuple[str, datetime | None]:
        """Replace the caller's token by a fresh one; returns that, and until when it is valid."""
        request = client_pb2.RotateTokenRequest(parent=f"namespaces/{self._namespace}")
        answer = await self._call("RotateToken", request)
        return answer.token, _time(answer, "expiry")


def _duration(duration: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(duration)
    return message


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time.astimezone(UTC))
    return message


def _time(message: Any, field: str) -> datetime | None:
    return getattr(message, field).ToDatetime(UTC) if message.HasField(field) else None
