"""The process of an isolated driver: makes it, serves it on a socket of its own, and ends with who started it.

Run by `jumpstarter.isolation` as `python -m jumpstarter.isolated`. It is told what to make in one line of JSON on its
standard input, and says in one line on its standard output where it serves, or why it does not.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

from anyio import open_signal_receiver, run

from .common.enums import ExporterStatus
from .common.exceptions import JumpstarterException
from .common.failures import code_of
from .config.entry import ExporterConfigV1Alpha1DriverInstance
from .driver import Driver, export
from .exporter.session import Session

PART = "driver"
"""Name of the isolated driver below the root that is served."""


@dataclass(kw_only=True)
class Host(Driver):
    """The root of what is served: the isolated driver, and what its session does with it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.session: Session | None = None

    @export(concurrent=True, urgent=True)
    async def release(self) -> None:
        """Hand back the devices of the drivers here."""
        assert self.session is not None
        if failures := await self.session.release():
            raise failures[0].error


def main() -> None:
    """Serve until SIGTERM."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what drivers print is no answer
    order = json.loads(sys.stdin.readline())
    sys.path[:] = order["path"]
    logging.basicConfig(level=logging.WARNING)
    try:
        entry = ExporterConfigV1Alpha1DriverInstance.from_str(order["entry"])
        host = Host(children={PART: entry.instantiate()})
        run(_serve, host, order["config"], said)
    except (Exception, SystemExit, BaseExceptionGroup) as e:  # noqa: BLE001 told to who started us
        _say(said, {"failed": _explained(e)})
        sys.exit(1)


async def _serve(host: Host, config: str, said: Any) -> None:
    with open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with Session(root_device=host, config=config) as session, session.serve_unix_async() as path:
            host.session = session
            session.update_status(ExporterStatus.LEASE_READY)
            _say(said, {"serves": str(path)})
            async for _ in signals:
                return


def _say(said: Any, answer: dict[str, Any]) -> None:
    said.write(json.dumps(answer) + "\n")
    said.flush()


def _explained(error: BaseException) -> dict[str, str]:
    """Code, text and hint of why there is no driver; of its own error, where the configuration's only names it."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError | JumpstarterException) else error
    return {"code": code_of(cause), "text": str(cause) or type(cause).__name__, "hint": getattr(cause, "hint", "")}


if __name__ == "__main__":
    main()
