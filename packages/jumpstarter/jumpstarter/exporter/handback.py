"""Bringing the devices of a session to the state in which they are handed back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, create_task_group, fail_after

from ..common.exceptions import CallTimeoutError, DeviceAbsentError
from ..common.limits import DRIVER_LIFE
from ..driver import handback
from ..driver.base import Driver
from ..driver.calls import Call
from ..driver.standin import StandIn, Waiting
from ..driver.table import exported_methods
from ..driver.turns import Failure

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger(__name__)


async def release_all(session: Session, *, absent: bool) -> list[Failure]:
    """Let every driver hand back its device, each in its own worker and ahead of what waits there."""
    failures: list[Failure] = []
    # a list, since drivers that are dataclasses cannot be hashed
    drivers = {id(device): device for _, _, _, device in session.tree() if not isinstance(device, Waiting)}

    async def release(driver: Driver) -> None:
        try:
            if not isinstance(driver, StandIn):
                await _release(session, driver)
            elif absent:
                raise DeviceAbsentError(f"the device is absent: {driver.failure}")
        except (Exception, SystemExit, KeyboardInterrupt, BaseExceptionGroup) as e:  # noqa: BLE001 the others go on
            failures.append(Failure(driver, session.path(driver), e))

    with CancelScope(shield=True):
        async with create_task_group() as tasks:
            for driver in drivers.values():
                if handback.acts(driver):
                    tasks.start_soon(release, driver)
    for failure in failures:
        logger.warning("driver %s is not handed back as it should be: %s", failure.path or "(root)", failure.error)
    return failures


async def _release(session: Session, driver: Driver) -> None:
    what = "release" if handback.overrides(type(driver)) else str(handback.wanted(driver))
    try:
        with fail_after(DRIVER_LIFE):
            await _run(session, driver, what)
    except TimeoutError as e:
        if isinstance(e, CallTimeoutError) or str(e):
            raise
        raise CallTimeoutError(f"{what} has not ended after {DRIVER_LIFE:g} s") from e


async def _run(session: Session, driver: Driver, what: str) -> None:
    worker, hook = session.calls.worker(driver), handback.hook(type(driver))
    method = exported_methods(type(driver)).get(what)
    if method is not None and method.is_async and hook is Driver.release:
        await worker.run_async(Call(driver, what), lambda: method.function(driver), urgent=True)
        return
    if iscoroutinefunction(hook):
        await worker.run_async(Call(driver, what), _bound(hook, driver), urgent=True)
        return
    result: Awaitable[None] | None = await worker.run(Call(driver, what), lambda: hook(driver), urgent=True)
    if isawaitable(result):
        await result


def _bound(hook: Callable[[Driver], Any], driver: Driver) -> Callable[[], Any]:
    return lambda: hook(driver)
