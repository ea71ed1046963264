"""Which exporter serves a TCP port of this host: for whoever finds it in use."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress

from ..common.address import host_port
from ..common.exceptions import BusyError, ConfigurationError
from ..common.lockwords import leave_word
from .devicelocks import DeviceLocks, holder, lock_file

_ANY = ("0.0.0.0", "::")


@contextmanager
def announced(host: str, port: int, config: str) -> Generator[None]:
    """Leave word meanwhile that the exporter of this configuration serves a port."""
    locks = DeviceLocks(config)
    with suppress(BusyError, ConfigurationError):  # the port is ours all the same
        locks.take(_name(host, port), "", f"port {port} on {host}")
    try:
        yield
    finally:
        locks.release()


def server_of(host: str, port: int, config: str = "") -> str:
    """`by another exporter (process 12, config lab.yaml)`, or nothing where it is none that can be known.

    That one is told that the exporter of `config` wanted the port.
    """
    for address in (host, *_ANY):
        file = lock_file(_name(address, port))
        if file.exists():
            found = holder(file)
            if found.pid is not None:
                leave_word(file, config)
                return f" by another exporter ({found})"
    return ""


def _name(host: str, port: int) -> str:
    return f"port-{host_port(host, port)}"
