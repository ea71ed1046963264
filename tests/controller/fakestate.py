"""What a controller knows: exporters, leases, and which of them belong together."""

from __future__ import annotations

import queue
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from jumpstarter_protocol.jumpstarter.client.v1 import client_pb2
from jumpstarter_protocol.jumpstarter.v1 import common_pb2, jumpstarter_pb2, kubernetes_pb2

NAMESPACE = "default"

LAST_SEEN = 60.0
"""Seconds without a sign of life after which an exporter counts as offline."""

PENDING_DIALS = 8
"""Dials that wait for an exporter at a time."""

_LEASABLE = (common_pb2.EXPORTER_STATUS_UNSPECIFIED, common_pb2.EXPORTER_STATUS_AVAILABLE)
_OFFLINE = (common_pb2.EXPORTER_STATUS_UNSPECIFIED, common_pb2.EXPORTER_STATUS_OFFLINE)


def matches(selector: str, labels: dict[str, str]) -> bool:
    """Whether labels fit a selector such as `board=rpi4,!broken,soc in (a, b)`; ValueError where it is none."""
    for part in re.findall(r"(?:[^,(]|\([^)]*\))+", selector):
        text = part.strip()
        if match := re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", text):
            key, operator, values = match[1], match[2], [value.strip() for value in match[3].split(",")]
            fits = (labels.get(key) in values) == (operator == "in")
        elif match := re.fullmatch(r"([^=!\s]+)\s*(==|=|!=)\s*(\S*)", text):
            fits = (labels.get(match[1]) == match[3]) == (match[2] != "!=")
        elif match := re.fullmatch(r"(!?)([^=!\s]+)", text):
            fits = (match[2] in labels) != bool(match[1])
        else:
            raise ValueError(f"unable to parse requirement: {text}")
        if not fits:
            return False
    return True


class Listener:
    """An exporter's open `Listen`."""

    def __init__(self) -> None:
        self.dials: queue.Queue[jumpstarter_pb2.ListenResponse | None] = queue.Queue(PENDING_DIALS + 1)
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True
        self.dials.put(None)


@dataclass
class Exporter:
    """An exporter that was created by an administrator."""

    name: str
    labels: dict[str, str]
    token: str
    uid: str = field(default_factory=lambda: str(uuid4()))
    enabled: bool = True
    is_registered: bool = False
    is_online: bool = False
    status: int = common_pb2.EXPORTER_STATUS_UNSPECIFIED
    message: str = ""
    last_seen: float = 0.0
    devices: list[Any] = field(default_factory=list[Any])
    listeners: dict[str, Listener] = field(default_factory=dict[str, Listener])

    @property
    def can_be_leased(self) -> bool:
        return self.enabled and self.is_registered and self.is_online and self.status in _LEASABLE

    def seen(self) -> None:
        """A sign of life; an exporter that was marked offline is back."""
        self.last_seen = time.monotonic()
        self.is_online = True
        if self.status == common_pb2.EXPORTER_STATUS_OFFLINE:
            self.status = common_pb2.EXPORTER_STATUS_UNSPECIFIED

    def report(self, status: int, message: str) -> None:
        self.status, self.message, self.last_seen = status, message, time.monotonic()
        self.is_online = status not in _OFFLINE

    def to_proto(self) -> client_pb2.Exporter:
        return client_pb2.Exporter(
            name=f"namespaces/{NAMESPACE}/exporters/{self.name}",
            labels=self.labels,
            online=self.is_online,
            status=common_pb2.ExporterStatus.Name(self.status),  # pyright: ignore[reportArgumentType]
            status_message=self.message,
            enabled=self.enabled,
        )


@dataclass
class Lease:
    """A client's claim on an exporter."""

    name: str
    client: str
    selector: str
    exporter_name: str
    duration: float
    begin_time: float | None = None
    """Seconds since the epoch."""
    tags: dict[str, str] = field(default_factory=dict[str, str])
    context: dict[str, str] = field(default_factory=dict[str, str])
    exporter: Exporter | None = None
    began: float | None = None
    ended: float | None = None
    ended_why: str = ""
    refusal: tuple[str, str, str] | None = None
    """Type, reason and message of the condition that says why it can never be had."""

    @property
    def is_active(self) -> bool:
        return self.exporter is not None and self.ended is None

    @property
    def end_time(self) -> float | None:
        return None if self.began is None else self.began + self.duration

    def end(self, why: str) -> None:
        if self.ended is None:
            self.ended, self.ended_why = time.time(), why
            if self.exporter is not None and (listener := self.exporter.listeners.pop(self.name, None)):
                listener.close()

    def conditions(self) -> list[kubernetes_pb2.Condition]:
        def condition(kind: str, status: bool, reason: str, message: str = "") -> kubernetes_pb2.Condition:
            return kubernetes_pb2.Condition(type=kind, status=str(status), reason=reason, message=message)

        if self.refusal is not None:
            return [condition(self.refusal[0], True, *self.refusal[1:])]
        if self.ended is not None:
            return [condition("Pending", False, "Ready"), condition("Ready", False, self.ended_why)]
        if self.exporter is not None:
            return [condition("Pending", False, "Ready"), condition("Ready", True, "Ready")]
        return [condition("Pending", True, "NotAvailable", "no matching exporter is free")]

    def to_proto(self) -> client_pb2.Lease:
        lease = client_pb2.Lease(
            name=f"namespaces/{NAMESPACE}/leases/{self.name}",
            selector=self.selector,
            client=f"namespaces/{NAMESPACE}/clients/{self.client}",
            exporter_name=self.exporter_name,
            conditions=self.conditions(),
            tags=self.tags,
            context=self.context,
        )
        lease.duration.FromMilliseconds(int(self.duration * 1000))
        if self.exporter is not None:
            lease.exporter = f"namespaces/{NAMESPACE}/exporters/{self.exporter.name}"
        if self.begin_time is not None:
            lease.begin_time.FromMilliseconds(int(self.begin_time * 1000))
        if self.began is not None:
            lease.effective_begin_time.FromMilliseconds(int(self.began * 1000))
            used = (self.ended or time.time()) - self.began
            lease.effective_duration.FromMilliseconds(int(used * 1000))
        if self.ended is not None:
            lease.effective_end_time.FromMilliseconds(int(self.ended * 1000))
        return lease


class LabState:
    """Exporters, clients and leases. `changed` guards everything, and is notified of every change."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.exporters: dict[str, Exporter] = {}
        self.clients: dict[str, str] = {}
        """Token of each client, by name."""
        self.leases: dict[str, Lease] = {}

    def schedule(self) -> None:
        """End what is over, and give free exporters to those who wait for one."""
        with self.changed:
            now = time.time()
            for lease in self.leases.values():
                if lease.is_active and lease.end_time is not None and lease.end_time <= now:
                    lease.end("Expired")
            for exporter in self.exporters.values():
                if exporter.is_online and exporter.last_seen < time.monotonic() - LAST_SEEN:
                    exporter.is_online, exporter.status = False, common_pb2.EXPORTER_STATUS_OFFLINE
            for lease in self.leases.values():
                if lease.exporter is None and lease.ended is None and (lease.begin_time or 0) <= now:
                    self._assign(lease)
            self.changed.notify_all()

    def _assign(self, lease: Lease) -> None:
        try:
            fitting = [
                exporter
                for exporter in self.exporters.values()
                if lease.exporter_name in ("", exporter.name) and matches(lease.selector, exporter.labels)
            ]
        except ValueError as e:
            lease.refusal = ("Invalid", "InvalidSelector", str(e))
            lease.end("Invalid")
            return
        if not fitting:
            reason = "ExporterNotFound" if lease.exporter_name else "SelectorMismatch"
            lease.refusal = ("Unsatisfiable", reason, f"no exporter matches {lease.selector or lease.exporter_name}")
            lease.end("Unsatisfiable")
            return
        free = [exporter for exporter in fitting if exporter.can_be_leased and self.lease_of(exporter) is None]
        if free:
            lease.exporter, lease.began = free[0], time.time()

    def lease_of(self, exporter: Exporter) -> Lease | None:
        """The lease that an exporter is in."""
        return next((lease for lease in self.leases.values() if lease.is_active and lease.exporter is exporter), None)
