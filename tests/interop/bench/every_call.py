"""Make each call of an exporter that this Python's release knows, and print what becomes of it as JSON.

Run by the Python of any release, with the socket of an exporter in JUMPSTARTER_HOST.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message_factory import GetMessageClass
from jumpstarter_protocol import jumpstarter_pb2 as pb
from jumpstarter_protocol import router_pb2

MOMENT = 1.0
"""Seconds after which a stream that goes on counts as one that works."""


def main() -> None:
    with grpc.insecure_channel(f"unix:{os.environ['JUMPSTARTER_HOST']}") as opened:
        channel: Any = opened
        report = outcome_of(channel, service(pb, "ExporterService").methods_by_name["GetReport"], Empty())
        reports = {entry.labels["jumpstarter.dev/name"]: entry.uuid for entry in report[1].reports}
        requests: dict[str, Any] = {
            "DriverCall": pb.DriverCallRequest(uuid=reports["power"], method="on"),
            "StreamingDriverCall": pb.StreamingDriverCallRequest(uuid=reports["power"], method="read"),
        }
        metadata = {
            "Stream": (("request", json.dumps({"kind": "driver", "uuid": reports["echo"], "method": "connect"})),)
        }
        found: dict[str, str] = {}
        methods = [*service(pb, "ExporterService").methods, *service(router_pb2, "RouterService").methods]
        for method in sorted(methods, key=lambda method: method.name == "EndSession"):  # which comes last
            code, _ = outcome_of(channel, method, requests.get(method.name), metadata.get(method.name, ()))
            found[method.name] = code
        sys.stdout.write(json.dumps(found) + "\n")


def service(module: Any, name: str) -> Any:
    return module.DESCRIPTOR.services_by_name[name]


def outcome_of(channel: Any, method: Any, request: Any, metadata: Any = ()) -> tuple[str, Any]:
    """The status of a call with its response, or the first of its responses."""
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    request_class, response_class = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = kinds[method.client_streaming, method.server_streaming](
        f"/{method.containing_service.full_name}/{method.name}",
        request_class.SerializeToString,
        response_class.FromString,
    )
    value = request if request is not None else request_class()
    sent: Any = ended(request_class) if method.client_streaming else value
    try:
        if not method.server_streaming:
            return "OK", call(sent, timeout=20, metadata=metadata)
        return "OK", next(iter(call(sent, timeout=MOMENT, metadata=metadata)), None)
    except grpc.RpcError as e:
        failure: Any = e
        goes_on = method.server_streaming and failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return "OK" if goes_on else failure.code().name, None


def ended(request_class: Any) -> Iterator[Any]:
    """A stream that ends at once; a byte stream says so."""
    if request_class is router_pb2.StreamRequest:
        yield request_class(frame_type=router_pb2.FRAME_TYPE_GOAWAY)


if __name__ == "__main__":
    main()
