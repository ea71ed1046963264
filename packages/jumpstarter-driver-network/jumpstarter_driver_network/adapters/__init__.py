"""A driver's byte streams as what other programs and libraries want: a port, a socket, a pexpect session."""

from .pexpect import PexpectAdapter
from .portforward import TcpPortforwardAdapter, UnixPortforwardAdapter

__all__ = ["PexpectAdapter", "TcpPortforwardAdapter", "UnixPortforwardAdapter"]
