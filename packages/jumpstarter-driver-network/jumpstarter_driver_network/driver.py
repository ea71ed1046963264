"""Services that the exporter's host can reach, offered to clients as byte streams."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from anyio import create_memory_object_stream
from anyio.abc import ObjectStream
from anyio.streams.stapled import StapledObjectStream
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.common import MEMORY_STREAM_ITEMS

from .connect import connect_tcp, connect_udp, connect_unix, connect_vsock, resolve
from .dbus import DbusNetwork
from .interface import NetworkInterface
from .streams import DatagramStream, SocketStream
from .websocket import WebsocketNetwork

__all__ = [
    "DbusNetwork",
    "EchoNetwork",
    "NetworkInterface",
    "TcpNetwork",
    "UdpNetwork",
    "UnixNetwork",
    "VsockNetwork",
    "WebsocketNetwork",
]


@dataclass(kw_only=True)
class _HostAndPort(NetworkInterface, Driver):
    host: str
    """Name or address of the service, as the exporter's host sees it."""

    port: int

    enable_address: bool = True
    """Whether clients may learn the address, to connect without the exporter."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.port <= 65535:
            raise ConfigurationError(f"port must be 1 to 65535, not {self.port}")

    def _address(self, scheme: str, kind: socket.SocketKind) -> str:
        if not self.enable_address:
            raise ValueError("the address is not given to clients (enable_address is false); use a port forward")
        return f"{scheme}://{resolve(self.host, self.port, kind)}"


@dataclass(kw_only=True)
class TcpNetwork(_HostAndPort):
    """A TCP port."""

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[SocketStream]:
        async with connect_tcp(self.host, self.port) as stream:
            yield stream

    @export
    def address(self) -> str:
        """`tcp://address:port`, with the name resolved by the exporter's host."""
        return self._address("tcp", socket.SOCK_STREAM)


@dataclass(kw_only=True)
class UdpNetwork(_HostAndPort):
    """A UDP port; every item of the stream is one datagram."""

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[DatagramStream]:
        async with connect_udp(self.host, self.port) as stream:
            yield stream

    @export
    def address(self) -> str:
        """`udp://address:port`, with the name resolved by the exporter's host."""
        return self._address("udp", socket.SOCK_DGRAM)


@dataclass(kw_only=True)
class UnixNetwork(NetworkInterface, Driver):
    """A unix stream socket."""

    path: str

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[SocketStream]:
        async with connect_unix(self.path) as stream:
            yield stream


@dataclass(kw_only=True)
class VsockNetwork(NetworkInterface, Driver):
    """A port of a virtual machine, or of its host, that needs no network (vsock(7); Linux)."""

    cid: int
    """Which machine: 2 is the host, a virtual machine has what its configuration gives it."""

    port: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("cid", self.cid), ("port", self.port)):
            if not 0 <= value < 0xFFFFFFFF:  # the last one stands for any
                raise ConfigurationError(f"{name} must be 0 to 4294967294, not {value}")
        if not hasattr(socket, "AF_VSOCK"):
            raise ConfigurationError("VsockNetwork needs Linux: this host has no vsock sockets")

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[SocketStream]:
        async with connect_vsock(self.cid, self.port) as stream:
            yield stream


@dataclass(kw_only=True)
class EchoNetwork(NetworkInterface, Driver):
    """A service inside the exporter that sends back what it gets."""

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        send, receive = create_memory_object_stream[bytes](MEMORY_STREAM_ITEMS)
        async with StapledObjectStream(send, receive) as stream:
            yield stream
