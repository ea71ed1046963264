"""A driver's byte stream as a pexpect session."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from jumpstarter.client.adapters import blocking

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient
    from pexpect.fdpexpect import fdspawn


@blocking
@asynccontextmanager
async def PexpectAdapter(*, client: "DriverClient", method: str = "connect") -> "AsyncGenerator[fdspawn[bytes]]":
    """A pexpect session on a stream of the driver, until the context ends; a break is a ConnectionResetError."""
    from pexpect.fdpexpect import fdspawn

    from ..forwarding import forwarded_socket

    async with forwarded_socket(client, method) as sock:
        session: fdspawn[bytes] = fdspawn(sock.detach(), use_poll=True)
        try:
            yield session
        finally:
            session.close()
