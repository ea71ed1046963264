"""Looking at an exporter without building its tree: does it answer, and what does it log."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from ..common.limits import CONNECT_TIMEOUT
from .connection import Endpoint, Stub
from .logs import write_line
from .reasons import unreachable


def check_answers(endpoint: Endpoint) -> None:
    """Raise ExporterUnreachableError unless an exporter answers there, DriverError if it refuses."""
    with _stub(endpoint) as stub:
        try:
            stub.GetReport(Empty(), timeout=CONNECT_TIMEOUT)
        except grpc.RpcError as e:
            raise unreachable(e, endpoint.address) from e


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
