"""An exporter under a controller, which the signals of its process end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from anyio import create_task_group

from ..common.groups import ungrouping
from .exporter import Exporter
from .signals import watch_signals

if TYPE_CHECKING:
    from ..config.exporter import ExporterConfigV1Alpha1


@ungrouping
async def serve_registered(config: ExporterConfigV1Alpha1, *, ready: Callable[[], None]) -> None:
    """Serve the leases that a configuration's controller gives until SIGINT, SIGTERM or SIGQUIT, or one lease at most
    after SIGHUP; `ready` is called once the controller knows the exporter.

    Raises as `Exporter.serve` does, and HookFailedError when a hook that fails is to end the exporter.
    """
    exporter = Exporter.of(config)
    stop = partial(exporter.stop, should_unregister=True)
    async with create_task_group() as tasks:
        await tasks.start(watch_signals, stop, partial(stop, wait_for_lease_exit=True))
        await exporter.serve(ready=ready)
        tasks.cancel_scope.cancel()
    if exporter.failure is not None:
        raise exporter.failure
