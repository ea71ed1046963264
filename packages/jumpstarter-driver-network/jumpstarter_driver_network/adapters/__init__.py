"""A driver's byte streams as what other programs and libraries want: a port, a socket, a pexpect session."""

from .dbus import DbusAdapter
from .fabric import FabricAdapter
from .novnc import NovncAdapter
from .pexpect import PexpectAdapter
from .portforward import TcpPortforwardAdapter, UnixPortforwardAdapter

__all__ = [
    "DbusAdapter",
    "FabricAdapter",
    "NovncAdapter",
    "PexpectAdapter",
    "TcpPortforwardAdapter",
    "UnixPortforwardAdapter",
]
