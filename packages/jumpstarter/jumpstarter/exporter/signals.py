"""The signals that end an exporter."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from anyio import open_signal_receiver

from ..common.limits import SHUTDOWN

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


async def watch_signals(
    stop: Callable[[], None], drain: Callable[[], None] | None = None, *, task_status: TaskStatus[None]
) -> None:
    """Call `stop` at the first signal, and end the process at once with the second, or when its drivers do not close.

    With `drain`, that is called for SIGHUP, which then counts as no signal to stop.
    """
    is_stopping = False
    with open_signal_receiver(*_STOP_SIGNALS) as signals:
        task_status.started()
        async for signum in signals:
            if signum == signal.SIGHUP and drain is not None:
                drain()
                continue
            if is_stopping:
                os._exit(128 + signum)
            is_stopping = True
            stop()
            _end_after(SHUTDOWN)


def _end_after(seconds: float) -> None:
    """End the process then, should a driver not have closed by that time."""

    def end() -> None:
        logger.error("drivers did not close within %.0f s; ending without them", seconds)
        os._exit(70)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
