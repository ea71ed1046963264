"""`DbusNetwork`, the D-Bus of the exporter's host as a byte stream."""

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import unquote

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, exportstream

from .connect import connect_tcp, connect_unix
from .interface import NetworkInterface
from .streams import SocketStream

KIND_LABEL = "jumpstarter.dev/dbusnetwork/kind"

VARIABLES = {"system": "DBUS_SYSTEM_BUS_ADDRESS", "session": "DBUS_SESSION_BUS_ADDRESS"}
"""Where programs look for the address of a bus (D-Bus Specification, "Well-known Message Bus Instances")."""


@dataclass(kw_only=True)
class DbusNetwork(NetworkInterface, Driver):
    """A message bus of the exporter's host, at the address that its environment names, or else at the usual socket.

    Raises ConfigurationError where that address has neither a unix socket nor a TCP port.
    """

    KIND_LABEL: ClassVar[str] = KIND_LABEL

    kind: Literal["system", "session"]
    """Which bus."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in VARIABLES:
            raise ConfigurationError(f"kind must be system or session, not {self.kind!r}")
        # of now: a client in this process may put its own port there
        address = os.environ.get(VARIABLES[self.kind]) or _usual_address(self.kind)
        self._path, self._tcp = _reachable(address, VARIABLES[self.kind])

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_network.client.DbusNetworkClient"

    def extra_labels(self) -> dict[str, str]:
        return {KIND_LABEL: self.kind}

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[SocketStream]:
        async with connect_unix(self._path) if self._path is not None else connect_tcp(*self._tcp) as stream:
            yield stream


def _usual_address(kind: str) -> str:
    if kind == "system":
        return "unix:path=/var/run/dbus/system_bus_socket"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return f"unix:path={runtime}/bus"


def _reachable(address: str, variable: str) -> tuple[str | None, tuple[str, int]]:
    """The first unix socket or TCP port of an address list; ConfigurationError where it has neither."""
    for transport, values in _entries(address):
        if transport == "unix" and "path" in values:
            return values["path"], ("", 0)
        if transport == "unix" and "abstract" in values:
            return f"\0{values['abstract']}", ("", 0)
        if transport == "tcp" and values.get("port", "").isdecimal():
            return None, (values.get("host", "localhost"), int(values["port"]))
    raise ConfigurationError(
        f"{variable}: no unix socket and no TCP port in {address!r}", "unix:path=/run/dbus/system_bus_socket is one"
    )


def _entries(address: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The parts of an address: `transport:key=value,key=value;...`, the values %-escaped."""
    for entry in address.split(";"):
        transport, _, rest = entry.partition(":")
        pairs = (pair.partition("=") for pair in rest.split(","))
        yield transport.strip(), {key: unquote(value) for key, _, value in pairs}
