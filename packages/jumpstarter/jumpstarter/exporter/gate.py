"""Which calls reach the drivers: the one gate that every call and stream of a server passes."""

from __future__ import annotations

import os
import pwd
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anyio import move_on_after

from ..common.exceptions import BusyError
from ..common.limits import PREPARE_WAIT
from ..common.metadata import SESSION_METADATA_KEY
from .ownership import Holder, Ownership, Tenure

if TYPE_CHECKING:
    from .session import Session

Opening = Callable[[dict[str, str]], Awaitable[None]]
"""Tells a client that its stream is open, with metadata."""


class Gate:
    """Lets every call in while the session's status allows it, whoever makes it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._everybody = Tenure(Ownership(), Holder(principal="", user="everybody"), "")

    async def admit(self, context: Any, *, read_only: bool = False) -> Tenure:
        """What a call belongs to. Raises where it may not run."""
        self._session.check_ready()
        return self._everybody

    async def end_session(self, context: Any) -> tuple[bool, str]:
        """End the caller's session, if it is one that can be ended; whether it has, and a text for people."""
        return False, "this session has no lease; it ends when you disconnect"

    async def serve_session(self, request: dict[str, Any], context: Any, opening: Opening) -> None:
        """Serve the stream by which a client holds a session."""
        raise ValueError("stream: this exporter serves everybody, and has no sessions to hold")


class OwnersGate(Gate):
    """Lets the calls of one session in at a time."""

    def __init__(self, session: Session, ownership: Ownership, *, is_private: bool = False) -> None:
        super().__init__(session)
        self._ownership = ownership
        self._is_private = is_private
        """Whoever knows the server's address belongs to its session, whether it has a token or not."""

    async def admit(self, context: Any, *, read_only: bool = False) -> Tenure:
        token, principal = caller(context)
        if token is None and self._is_private and (held := self._ownership.tenure) is not None:
            token = held.token
        tenure = self._ownership.admit(token, principal, read_only=read_only)
        return tenure if tenure is not None else await self._admit_later(token, principal, read_only)

    async def _admit_later(self, token: str | None, principal: str, read_only: bool) -> Tenure:
        """The same once the exporter is ready, unless that takes long."""
        with move_on_after(PREPARE_WAIT):
            tenure = await self._ownership.changes.until(
                lambda: self._ownership.admit(token, principal, read_only=read_only)
            )
            assert tenure is not None
            return tenure
        status = self._session.status.current.status.name
        raise BusyError(f"the exporter is preparing for the next session ({status})", "try again in a while")

    async def end_session(self, context: Any) -> tuple[bool, str]:
        token, principal = caller(context)
        tenure = self._ownership.tenure
        ended, text = self._ownership.end_by_request(token, principal)
        if ended and tenure is not None and tenure.token == token:
            await self._ownership.changes.until(lambda: tenure.is_settled)
            if tenure.failures:
                text = "; ".join([text, *tenure.failures])
        return ended, text

    async def serve_session(self, request: dict[str, Any], context: Any, opening: Opening) -> None:
        from .holding import serve_session

        await serve_session(self._ownership, caller(context)[1], request, context, opening)


def _local_user() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return f"uid {os.getuid()}"


_LOCAL_USER = _local_user()
"""Who is at the other end of a unix socket, which nobody else can open."""


def caller(context: Any) -> tuple[str | None, str]:
    """The token that a call carries, and its principal: the local user, or the address it comes from."""
    token: str | None = None
    for key, value in context.invocation_metadata() or ():
        if key == SESSION_METADATA_KEY:
            token = value if isinstance(value, str) else value.decode(errors="replace")
    peer: str = context.peer()
    if peer.startswith("ipv4:"):
        return token, peer[5 : peer.rfind(":")]
    if peer.startswith("ipv6:"):
        return token, peer[5 : peer.rfind(":")].replace("%5B", "").replace("%5D", "")
    return token, _LOCAL_USER
