"""Calls to an exporter as bytes, which no client of ours would send."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.empty_pb2 import Empty
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

if TYPE_CHECKING:
    from processes import Bench

SERVICES = {"Stream": "Router"}


class Raw:
    """A channel whose messages are bytes."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        report = pb.GetReportResponse.FromString(self.call("GetReport", Empty().SerializeToString()))
        self.probe = next(r.uuid for r in report.reports if r.labels.get("jumpstarter.dev/name") == "probe")

    def call(self, method: str, request: bytes, **options: Any) -> bytes:
        """A unary call."""
        return self._channel.unary_unary(self._path(method))(request, timeout=5, **options)

    def streamed(self, method: str, request: bytes) -> Any:
        """A call whose responses are an iterator."""
        return self._channel.unary_stream(self._path(method))(request)

    def stream(self, frames: Iterator[bytes], *metadata: tuple[str, str | bytes]) -> Any:
        """A stream call, with metadata."""
        return self._channel.stream_stream(self._path("Stream"))(frames, metadata=metadata, timeout=60)

    def status(self, method: str, request: bytes) -> tuple[grpc.StatusCode, str]:
        """How a call ends, with what text."""
        try:
            if method == "StreamingDriverCall":
                list(self.streamed(method, request))
            else:
                self.call(method, request)
        except grpc.RpcError as e:
            error: Any = e
            return error.code(), error.details()
        return grpc.StatusCode.OK, ""

    def _path(self, method: str) -> str:
        return f"/jumpstarter.v1.{SERVICES.get(method, 'Exporter')}Service/{method}"


def request(**fields: object) -> str:
    """The metadata of a stream call."""
    return json.dumps(fields)


@contextmanager
def raw(bench: Bench) -> Generator[Raw]:
    """A raw channel to the exporter."""
    with bench.endpoint().open(grpc) as channel:
        yield Raw(channel)
