"""Looking at an exporter without building its tree: does it answer, and what does it log."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.limits import CONNECT_TIMEOUT
from ..common.metadata import NAME_LABEL
from .connection import Endpoint, Stub
from .errors import unreachable
from .logs import write_line


def check_answers(endpoint: Endpoint) -> None:
    """Raise ExporterUnreachableError unless an exporter answers there, DriverError if it refuses."""
    with _stub(endpoint) as stub:
        try:
            stub.GetReport(Empty(), timeout=CONNECT_TIMEOUT)
        except grpc.RpcError as e:
            raise unreachable(e, endpoint.address) from e


@dataclass(frozen=True)
class Look:
    """What an exporter says of itself."""

    report: pb.GetReportResponse
    status: pb.GetStatusResponse | None
    """None where it is too old to say."""

    def drivers(self) -> Iterator[tuple[str, pb.DriverInstanceReport]]:
        """The drivers with their paths, as far as the report is a tree; a reference has the state of its target."""
        paths: dict[str, str] = {}
        for entry in self.report.reports:
            above = paths.get(entry.parent_uuid, "")
            name = entry.labels.get(NAME_LABEL, "")
            paths[entry.uuid] = path = f"{above}.{name}" if above else name
            yield path, entry


def look(endpoint: Endpoint) -> Look:
    """Ask an exporter what it has and what it does. Raises as `check_answers` does."""
    with _stub(endpoint) as stub:
        try:
            report = stub.GetReport(Empty(), timeout=CONNECT_TIMEOUT)
        except grpc.RpcError as e:
            raise unreachable(e, endpoint.address) from e
        try:
            status = stub.GetStatus(pb.GetStatusRequest(), timeout=CONNECT_TIMEOUT)
        except grpc.RpcError as e:
            if e.code() is not grpc.StatusCode.UNIMPLEMENTED:  # pyright: ignore[reportAttributeAccessIssue]
                raise unreachable(e, endpoint.address) from e
            status = None
        return Look(report, status)


@contextmanager
def following_logs(endpoint: Endpoint) -> Generator[None]:
    """Write an exporter's log to this process's loggers meanwhile, from a thread of its own."""
    with _stub(endpoint) as stub:
        call = stub.LogStream(Empty())

        def follow() -> None:
            try:
                for line in call:
                    write_line(line)
            except grpc.RpcError:
                return  # cancelled below, or the exporter has gone, which its user will notice

        thread = Thread(target=follow, name="exporter log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            call.cancel()
            thread.join(1)


@contextmanager
def _stub(endpoint: Endpoint) -> Generator[Any]:
    channel = endpoint.open(grpc)
    try:
        yield Stub(channel, endpoint.metadata)
    finally:
        channel.close()
