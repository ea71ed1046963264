"""The messages and services of the Jumpstarter protocol, generated from /protocol.

The modules below are loaded when they are first used: a message module costs no gRPC, and this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jumpstarter_protocol.jumpstarter.client.v1 import client_pb2, client_pb2_grpc
    from jumpstarter_protocol.jumpstarter.v1 import (
        common_pb2,
        common_pb2_grpc,
        jumpstarter_pb2,
        jumpstarter_pb2_grpc,
        kubernetes_pb2,
        kubernetes_pb2_grpc,
        router_pb2,
        router_pb2_grpc,
        telemetry_pb2,
        telemetry_pb2_grpc,
    )

__all__ = [
    "client_pb2",
    "client_pb2_grpc",
    "common_pb2",
    "common_pb2_grpc",
    "jumpstarter_pb2",
    "jumpstarter_pb2_grpc",
    "kubernetes_pb2",
    "kubernetes_pb2_grpc",
    "router_pb2",
    "router_pb2_grpc",
    "telemetry_pb2",
    "telemetry_pb2_grpc",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    package = "client.v1" if name.startswith("client_") else "v1"
    return import_module(f"{__name__}.jumpstarter.{package}.{name}")


def __dir__() -> list[str]:
    return __all__
