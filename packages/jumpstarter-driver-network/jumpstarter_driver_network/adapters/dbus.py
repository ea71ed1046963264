"""The message bus behind an exporter as the one that programs of this process and its children find."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .portforward import TcpPortforwardAdapter

if TYPE_CHECKING:
    from ..client import DbusNetworkClient


@contextmanager
def DbusAdapter(*, client: "DbusNetworkClient") -> Generator[None]:
    """A local port to the bus, and the environment variable that names it, until the context ends."""
    from ..dbus import VARIABLES

    variable = VARIABLES[client.kind]
    with TcpPortforwardAdapter(client=client) as (host, port):
        before = os.environ.get(variable)
        os.environ[variable] = f"tcp:host={host},port={port}"
        try:
            yield
        finally:
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before
