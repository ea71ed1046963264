"""Which calls reach the drivers of an exporter that a controller gives away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import move_on_after

from ..common.exceptions import BusyError
from ..common.limits import PREPARE_WAIT
from .gate import Gate
from .ownership import Ownership, Tenure

if TYPE_CHECKING:
    from .session import Session


class LeaseGate(Gate):
    """Lets in whoever comes through the tunnels of a lease: the controller has checked who that is."""

    def __init__(self, session: Session, ownership: Ownership, tenure: Tenure) -> None:
        super().__init__(session)
        self._ownership, self._tenure = ownership, tenure
        self._is_open = False

    def open(self) -> None:
        """The devices are ready for the client."""
        self._is_open = True
        self._ownership.changes.notify()

    async def admit(self, context: Any, *, read_only: bool = False) -> Tenure:
        if not self._is_open and not self._tenure.is_over:
            with move_on_after(PREPARE_WAIT):
                await self._ownership.changes.until(lambda: self._is_open or self._tenure.is_over)
        if self._tenure.is_over:
            raise self._tenure.ending()
        if not self._is_open:
            status = self._session.status.current.status.name
            raise BusyError(f"the exporter is preparing for the lease ({status})", "try again in a while")
        return self._tenure

    async def end_session(self, context: Any) -> tuple[bool, str]:
        self._ownership.end(self._tenure, "its client ended it")
        return True, "the session ends; the status says when the devices are taken back"


class LocalGate(Gate):
    """Lets nobody in: here one can only look."""

    def __init__(self, session: Session, endpoint: str) -> None:
        super().__init__(session)
        self._endpoint = endpoint

    async def admit(self, context: Any, *, read_only: bool = False) -> Tenure:
        raise BusyError(
            f"the exporter is given away by the controller {self._endpoint}", "lease it: jmp shell --client ALIAS"
        )

    async def serve_session(self, request: dict[str, Any], context: Any, opening: Any) -> None:
        await self.admit(context)
