"""An exporter under a controller: it registers, and serves those to whom the controller leases it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from anyio import create_task_group

from ..common.groups import ungrouping
from ..common.runtime import claim
from ..driver.rounds import Halt, Halted
from .controller import Controller, check_config
from .direct import open_session
from .leasegate import LocalGate
from .leasehooks import LeaseHooks
from .leases import LeaseLife
from .signals import watch_signals

if TYPE_CHECKING:
    from ..config.exporter import ExporterConfigV1Alpha1

logger = logging.getLogger(__name__)


@ungrouping
async def serve_registered(config: ExporterConfigV1Alpha1, *, ready: Callable[[], None]) -> None:
    """Serve the leases that a configuration's controller gives until SIGINT, SIGTERM or SIGQUIT, or one lease at most
    after SIGHUP; `ready` is called once the controller knows the exporter.

    A controller that is away is waited for. Raises NotAllowedError or ConfigurationError where it refuses the exporter,
    BusyError when an exporter of this name runs on this host already, ConfigurationError when the drivers cannot be
    made, HookFailedError when a hook that fails is to end the exporter.
    """
    check_config(config)
    failure: Exception | None = None
    life: LeaseLife | None = None
    halt = Halt()

    def stop() -> None:
        halt.set()
        if life is not None:
            life.stop()

    def drain() -> None:
        if life is not None:
            life.drain()
        else:
            stop()

    with claim(config.metadata.name, str(config.path)) as path:
        async with create_task_group() as tasks:
            await tasks.start(watch_signals, stop, drain)
            try:
                async with open_session(config, halt=halt) as session:
                    halt.check()
                    controller = Controller(config, session)
                    hooks = LeaseHooks(session, config.hooks, config.metadata.name)
                    life = LeaseLife(config, session, controller, hooks)

                    async def announce() -> None:
                        await controller.until_registered()
                        if controller.refusal is None:
                            ready()

                    gate = LocalGate(session, str(config.endpoint))
                    async with session.serve_unix_async(path, gate=gate), controller.line():
                        tasks.start_soon(announce)
                        await life.run()
                        logger.info("stopping")
                    failure = life.failure or controller.refusal
            except Halted as e:
                logger.info("%s", e)
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
