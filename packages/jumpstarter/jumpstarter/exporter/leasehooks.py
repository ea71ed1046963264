"""The scripts that a configuration has around sessions, each run with a socket of its own to use the devices by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import CancelScope, current_time

from ..common.exceptions import SessionEndedError
from ..common.limits import HOOK_AT_STOP
from .gate import Gate
from .ownership import Holder, Ownership, Tenure

if TYPE_CHECKING:
    from ..config.hooks import HookConfigV1Alpha1, HookInstanceConfigV1Alpha1
    from .hooks import HookKind, HookOutcome
    from .session import Session


class HookGate(Gate):
    """Lets the calls of a hook in: whoever knows the address of its server."""

    def __init__(self, session: Session, kind: HookKind) -> None:
        super().__init__(session)
        self._ownership = Ownership()
        self._tenure = Tenure(self._ownership, Holder(principal="", user=f"{kind} hook"))

    async def admit(self, context: Any, *, read_only: bool = False) -> Tenure:
        if self._tenure.is_over:
            raise SessionEndedError(str(self._tenure.cause))
        return self._tenure

    def close(self) -> None:
        """Let nothing in any more, and cancel what runs."""
        self._ownership.end(self._tenure, "the hook has ended")
        self._tenure.cancel()


class LeaseHooks:
    """Runs the hooks of an exporter."""

    def __init__(self, session: Session, config: HookConfigV1Alpha1, exporter: str) -> None:
        self._session, self._exporter = session, exporter
        self._configs = {"beforeLease": config.before_lease, "afterLease": config.after_lease}
        self._running: CancelScope | None = None
        self._is_stopping = False

    def has(self, kind: HookKind) -> bool:
        """Whether there is such a hook."""
        return self._configs[kind] is not None

    async def run(self, kind: HookKind, client: str = "", lease: str = "standalone") -> HookOutcome | None:
        """Run a hook to its end; None where there is none, or it was cut short because the exporter stops."""
        config = self._configs[kind]
        if config is None or (self._is_stopping and kind == "beforeLease"):
            return None
        from .hooks import unrunnable

        try:
            return await self._run(kind, config, client, lease)
        except OSError as e:  # there is no place for its socket
            return unrunnable(kind, config, e)

    async def _run(
        self, kind: HookKind, config: HookInstanceConfigV1Alpha1, client: str, lease: str
    ) -> HookOutcome | None:
        from .hooks import hook_variables, run_hook

        with CancelScope() as self._running:
            if self._is_stopping:
                self._running.deadline = current_time() + HOOK_AT_STOP
            gate = HookGate(self._session, kind)
            async with self._session.serve_unix_async(gate=gate) as path:
                variables = hook_variables(host=str(path), exporter=self._exporter, lease=lease, client=client)
                try:
                    return await run_hook(kind, config, env=variables)
                finally:
                    gate.close()
        return None

    def hurry(self) -> None:
        """The exporter stops: a hook that runs or is still to be run gets little time."""
        self._is_stopping = True
        if self._running is not None:
            self._running.deadline = min(self._running.deadline, current_time() + HOOK_AT_STOP)
