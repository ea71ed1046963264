"""A driver's byte stream as a pexpect session."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient
    from pexpect.fdpexpect import fdspawn


@contextmanager
def PexpectAdapter(*, client: "DriverClient", method: str = "connect") -> "Generator[fdspawn[bytes]]":
    """A pexpect session on a stream of the driver, until the context ends; a break is a ConnectionResetError."""
    from pexpect.fdpexpect import fdspawn

    from ..joined import joined_socket

    with joined_socket(client, method) as sock:
        session: fdspawn[bytes] = fdspawn(sock.detach(), use_poll=True)
        session.delayafterread = None  # 0.1 ms after each read, for child processes on the same processor
        try:
            yield session
        finally:
            session.close()
