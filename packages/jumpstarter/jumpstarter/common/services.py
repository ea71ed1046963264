"""The calls of an exporter, read from the protocol: one table for both ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.message_factory import GetMessageClass
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2

EXPORTER_SERVICE = "jumpstarter.v1.ExporterService"
ROUTER_SERVICE = "jumpstarter.v1.RouterService"


class Method(NamedTuple):
    """One call of a service."""

    request: Any
    """Message class of the request."""

    response: Any
    """Message class of the response, or of its items."""

    streams: bool
    """Whether the response is a stream."""

    takes_stream: bool
    """Whether the request is one, too."""


@cache
def exporter_methods() -> dict[str, Method]:
    """The calls of ExporterService by name."""
    service: Any = jumpstarter_pb2.DESCRIPTOR.services_by_name["ExporterService"]
    return {
        method.name: Method(
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
            method.server_streaming,
            method.client_streaming,
        )
        for method in service.methods
    }


def with_metadata(call: Callable[..., Any], metadata: Sequence[tuple[str, str]]) -> Callable[..., Any]:
    """A call of gRPC's with metadata that it always carries."""
    if not metadata:
        return call

    def called(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **{**kwargs, "metadata": (*metadata, *(kwargs.get("metadata") or ()))})

    return called


def identity(kind: str, namespace: str | None, name: str, token: str) -> tuple[tuple[str, str], ...]:
    """The metadata by which a controller knows who calls; `kind` is Client or Exporter."""
    return (
        ("authorization", f"Bearer {token}"),
        ("jumpstarter-kind", kind),
        ("jumpstarter-namespace", namespace or ""),
        ("jumpstarter-name", name),
    )
