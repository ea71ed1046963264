"""`Exporter`, an exporter as an object of a program of one's own; `jmp run` is one that signals stop."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from anyio import Event, create_task_group

from ..common.exceptions import HookFailedError
from ..common.groups import ungrouping
from ..common.metadata import NAME_LABEL
from ..common.runtime import claim
from ..config.common import ObjectMeta
from ..config.exporter import ExporterConfigV1Alpha1
from ..config.hooks import HookConfigV1Alpha1
from ..config.tls import TLSConfigV1Alpha1
from ..driver.rounds import Halt, Halted
from ..streams.channels import opened
from .controller import Controller, check_config
from .direct import TcpListener, open_session, serve_until
from .leasegate import LocalGate
from .leasehooks import LeaseHooks
from .leases import LeaseLife
from .making import Made

if TYPE_CHECKING:
    import grpc

    from ..driver.base import Driver
    from .hooks import HookExecutor
    from .session import Session

logger = logging.getLogger(__name__)


class Exporter:
    """Serves devices until `stop`, once: under a controller by `serve`, or by itself by `serve_standalone_tcp`.

    An asynchronous context manager, which stops it at its end. `ExporterConfigV1Alpha1.create_exporter` makes one of a
    configuration, with drivers whose devices may come later; a `device_factory` has to make them all.
    """

    def __init__(
        self,
        *,
        channel_factory: Callable[[], Awaitable[grpc.aio.Channel]],
        device_factory: Callable[[], Driver],
        uuid: UUID | None = None,
        labels: Mapping[str, str] | None = None,
        tls: TLSConfigV1Alpha1 | None = None,
        grpc_options: Mapping[str, str | int] | None = None,
        hook_executor: HookExecutor | None = None,
    ) -> None:
        """`channel_factory` makes a channel to the controller whenever there is none, with calls that say who we are;
        `tls` and `grpc_options` are for routers. The label jumpstarter.dev/name is its name."""
        labels = dict(labels or {})
        self._config = ExporterConfigV1Alpha1(
            metadata=ObjectMeta(namespace=None, name=labels.get(NAME_LABEL) or "exporter"),
            tls=tls or TLSConfigV1Alpha1(),
            grpcOptions=dict(grpc_options or {}),
            hooks=hook_executor.config if hook_executor is not None else HookConfigV1Alpha1(),
        )
        self._open: Callable[..., AbstractAsyncContextManager[Session]] = partial(
            open_session, make=lambda config, halt: Made(device_factory(), frozenset()), labels=labels, uuid=uuid
        )
        self._channel: Callable[[], AbstractAsyncContextManager[Any]] | None = partial(opened, channel_factory)
        self._begin()

    @classmethod
    def of(cls, config: ExporterConfigV1Alpha1, *, standalone: bool = False) -> Exporter:
        """The exporter of a configuration, which no other process of this host runs while it serves leases.

        Raises ConfigurationError without `endpoint` and `token`, unless it is to be standalone.
        """
        if not standalone:
            check_config(config)
        exporter = cls.__new__(cls)
        exporter._config, exporter._open, exporter._channel = config, open_session, None
        exporter._begin()
        return exporter

    def _begin(self) -> None:
        self._halt, self._stopped = Halt(), Event()
        self._life: LeaseLife | None = None
        self._unregisters = False
        self.exit_code: int | None = None
        """The status for the end of its process: that of `stop`, or 1 after a hook that is to end the exporter."""

        self.failure: HookFailedError | None = None
        """Why it ended by itself."""

    async def __aenter__(self) -> Exporter:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.stop()

    def stop(
        self, wait_for_lease_exit: bool = False, should_unregister: bool = False, exit_code: int | None = None
    ) -> None:
        """Have it end: now, or after the lease of now. With `should_unregister` the controller forgets its devices.

        To be called on its event loop.
        """
        self._unregisters = self._unregisters or should_unregister
        if exit_code is not None:
            self.exit_code = exit_code
        if wait_for_lease_exit and self._life is not None:
            self._life.drain()
            return
        self._halt.set()
        self._stopped.set()
        if self._life is not None:
            self._life.stop()

    @ungrouping
    async def serve(self, *, ready: Callable[[], None] = lambda: None) -> None:
        """Serve the leases that the controller gives; `ready` is called once it knows the exporter.

        A controller that is away is waited for. Raises NotAllowedError or ConfigurationError where it refuses the
        exporter, BusyError when an exporter of this configuration runs already, ConfigurationError when the drivers
        cannot be made.
        """
        name, file = self._config.metadata.name, str(self._config.path)
        with claim(name, file) if self._channel is None else nullcontext() as path:
            try:
                async with self._open(self._config, halt=self._halt) as session:
                    self._halt.check()
                    controller = Controller(self._config, session, self._channel)
                    hooks = LeaseHooks(session, self._config.hooks, name)
                    self._life = LeaseLife(self._config, session, controller, hooks)
                    async with AsyncExitStack() as stack:
                        if path is not None:
                            gate = LocalGate(session, str(self._config.endpoint))
                            await stack.enter_async_context(session.serve_unix_async(path, gate=gate))
                        await stack.enter_async_context(self._line(controller, ready))
                        await self._life.run()
                        logger.info("stopping")
                        controller.unregisters = self._unregisters
            except Halted as e:
                logger.info("%s", e)
                return
        self._failed(self._life.failure)
        if self.failure is None and controller.refusal is not None:
            raise controller.refusal

    @asynccontextmanager
    async def _line(self, controller: Controller, ready: Callable[[], None]) -> AsyncGenerator[None]:
        async def announce() -> None:
            await controller.until_registered()
            if controller.refusal is None:
                ready()

        async with controller.line(), create_task_group() as tasks:
            tasks.start_soon(announce)
            yield
            tasks.cancel_scope.cancel()

    async def serve_standalone_tcp(
        self,
        host: str,
        port: int,
        *,
        tls_credentials: grpc.ServerCredentials | None = None,
        interceptors: Sequence[Any] | None = None,
    ) -> None:
        """Serve one client after the other on a TCP port, without a controller; in clear text without credentials.

        Raises as `serve` does, and BusyError when the port is in use.
        """
        listener = TcpListener(
            host=host, port=port, credentials=tls_credentials, interceptors=tuple(interceptors or ())
        )
        self._failed(await serve_until(self._stopped, self._halt, self._config, listener, opening=self._open))

    def _failed(self, failure: HookFailedError | None) -> None:
        if failure is not None:
            self.failure = failure
            self.exit_code = 1 if self.exit_code is None else self.exit_code
