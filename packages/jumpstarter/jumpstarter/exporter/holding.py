"""The stream by which a client holds a session: it lasts as long as the stream does.

The client's frames mean nothing but that it is there; each one that the exporter sends wants one back. The client's
GOAWAY ends the session; the exporter then says GOAWAY when it has taken the devices back, after a last frame that says
what went wrong with that, as a JSON list of texts. Any other end is that of the session for another reason.
"""

from __future__ import annotations

import json
from typing import Any

from anyio import BrokenResourceError, Event, Lock, create_task_group, move_on_after

from ..common.limits import PROBE_HOLDER, SIGN_OF_LIFE
from ..common.metadata import SESSION_METADATA_KEY
from ..common.text import one_line
from ..streams.router import RouterStream
from .gate import Opening
from .ownership import Holder, Ownership, Tenure

_LONGEST = 100
"""Characters of what a client says of itself."""

_GONE = "its client is gone"


async def serve_session(
    ownership: Ownership, principal: str, request: dict[str, Any], context: Any, opening: Opening
) -> None:
    """Give the client a session, once it can have it, and keep it as long as the stream is open."""
    holder = _holder(principal, request)
    await _fence_off(ownership, holder)
    claim = ownership.claim(holder, wait=request.get("wait") is True)
    try:
        await ownership.changes.until(lambda: claim.is_decided)
        if claim.refusal is not None:
            raise claim.refusal
        assert claim.tenure is not None
        await opening({SESSION_METADATA_KEY: claim.tenure.token or ""})
        await _Line(ownership, claim.tenure, RouterStream(context)).serve()
    finally:
        ownership.withdraw(claim, _GONE)


def _holder(principal: str, request: dict[str, Any]) -> Holder:
    """Who asks, in words that can be shown to others."""

    def text(key: str) -> str:
        return one_line(str(request.get(key) or ""))[:_LONGEST]

    pid = request.get("pid")
    known = pid if type(pid) is int and 0 < pid < 1 << 32 else 0
    return Holder(
        principal=principal, user=text("user") or principal, host=text("host"), pid=known, purpose=text("purpose")
    )


async def _fence_off(ownership: Ownership, holder: Holder) -> None:
    """End the session of the same user whose client no longer answers: its connection is dead, and they are back."""
    tenure = ownership.tenure
    if tenure is None or tenure.is_over or tenure.answers is None or not tenure.holder.is_same_user(holder):
        return
    if not await tenure.answers():
        ownership.end(tenure, "its client does not answer, and its user has come back")


class _Line:
    """An open session stream."""

    def __init__(self, ownership: Ownership, tenure: Tenure, remote: RouterStream) -> None:
        self._ownership, self._tenure, self._remote = ownership, tenure, remote
        self._heard = Event()
        self._has_left = False
        self._sending = Lock()
        tenure.answers = self.answers

    async def answers(self) -> bool:
        """Whether the client answers soon, or has ended the session meanwhile."""
        if self._heard.is_set():
            self._heard = Event()
        heard = self._heard  # shared by all who ask at the same time
        with move_on_after(PROBE_HOLDER):
            await self._send(b"?")
            await heard.wait()
        return heard.is_set()

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await self._remote.send(data)

    async def serve(self) -> None:
        """Hold the session until it is over, and tell the client how that went."""
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._listen)
                await self._ownership.changes.until(lambda: self._tenure.is_over)
                if self._has_left:
                    await self._report_end()
                tasks.cancel_scope.cancel()
            if not self._has_left:
                raise self._tenure.ending()
        finally:
            self._heard.set()
            self._remote.abort()

    async def _listen(self) -> None:
        """Take note of the client's signs of life, and of its leaving."""
        try:
            async for _ in self._remote:
                self._heard.set()
            self._has_left = True
            self._ownership.end(self._tenure, "its client ended it")
        except BrokenResourceError:
            self._ownership.end(self._tenure, _GONE)

    async def _report_end(self) -> None:
        """Keep the client informed until the devices are taken back."""
        while not self._tenure.is_settled:
            with move_on_after(SIGN_OF_LIFE) as waiting:
                await self._ownership.changes.until(lambda: self._tenure.is_settled)
            if waiting.cancelled_caught:
                await self._send(b"?")
        await self._send(json.dumps(self._tenure.failures).encode())
        await self._remote.aclose()
