"""An exporter's line to its controller: it registers, is told of leases, and tells its status.

The line is made again for ever when it breaks, and after every break the exporter registers anew and repeats its
status: the controller may be another one. What was known of leases stays true meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from anyio import CancelScope, create_task_group, fail_after, move_on_after, sleep
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from jumpstarter_protocol.jumpstarter.v1.jumpstarter_pb2_grpc import ControllerServiceStub

from ..common.address import split_host_port
from ..common.backoff import Backoff
from ..common.changes import Changes
from ..common.exceptions import ConfigurationError, NotAllowedError
from ..common.groups import ungrouped
from ..common.limits import CONTROLLER_ANSWER, CONTROLLER_RETRY, LEAVE_CONTROLLER, REFUSALS
from ..common.reasons import plain_reason
from ..common.services import identity
from ..common.text import one_line
from ..streams.channels import asked, open_channel

if TYPE_CHECKING:
    from ..config.exporter import ExporterConfigV1Alpha1
    from .session import Session
    from .status import StatusReport

logger = logging.getLogger(__name__)

_REFUSED = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
}
"""What a controller answers that will say the same again."""

_CANNOT_RELEASE = _REFUSED
"""What controllers answer that let no exporter release a lease but by its status."""


@dataclass(frozen=True)
class Assignment:
    """A lease of this exporter."""

    lease: str
    client: str = field(default="", compare=False)
    context: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)


def check_config(config: ExporterConfigV1Alpha1) -> None:
    """Raise ConfigurationError where a configuration has no token, or an endpoint that is none."""
    if not config.token:
        raise ConfigurationError(
            f"{config.path}: endpoint needs a token",
            "write the one that the controller's administrator gave out, "
            "or serve without a controller by --tls-grpc-listener [HOST:]PORT",
        )
    split_host_port(config.endpoint or "")


class Controller:
    """The controller that a configuration names. `changes` are notified when something here has changed."""

    def __init__(
        self,
        config: ExporterConfigV1Alpha1,
        session: Session,
        channel: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
    ) -> None:
        """`channel` opens one to the controller; by default that of the configuration's endpoint and token."""
        self.changes = Changes()
        self.assignment: Assignment | None = None
        """The lease that the exporter is in, as far as is known."""

        self.refusal: Exception | None = None
        """Why no further attempt makes sense."""

        self.unregisters = True
        """Whether the controller is told in the end to forget the exporter's devices."""

        self._config, self._session = config, session
        self._endpoint = config.endpoint or "of this exporter"
        self._channel = channel or self._to_endpoint
        self._stub: Any = None
        self._registered: Any = None  # the stub of a line on which we have registered, and tell our status
        self._reported = -1
        self._was_registered = False
        self._refusals = 0
        self._lost_since: float | None = None

    @property
    def is_connected(self) -> bool:
        """Whether it tells us of leases."""
        return self._stub is not None

    async def connected(self) -> Any:
        """Wait until it does; its stub."""
        return await self.changes.until(lambda: self._stub)

    async def until_registered(self) -> None:
        """Wait until it knows the exporter, or refuses it."""
        await self.changes.until(lambda: self._was_registered or self.refusal)

    # the line

    def _to_endpoint(self) -> AbstractAsyncContextManager[Any]:
        config = self._config
        who = identity("Exporter", config.metadata.namespace, config.metadata.name, config.token or "")
        return open_channel(self._endpoint, config.tls, config.grpcOptions, who)

    async def run(self) -> None:
        """Keep the line, until the controller refuses the exporter."""
        backoff = Backoff(*CONTROLLER_RETRY)
        while self.refusal is None:
            started = time.monotonic()
            try:
                with ungrouped():
                    await self._connect()
            except (grpc.RpcError, OSError, TimeoutError) as e:
                self._failed(e)
            except ConfigurationError as e:
                self._give_up(e)
            finally:
                self._stub = self._registered = None
                self.changes.notify()
            if self.refusal is None:
                await sleep(backoff.after(time.monotonic() - started))

    async def _connect(self) -> None:
        """Register, and follow what the controller says until that breaks off."""
        async with self._channel() as channel:
            stub: Any = ControllerServiceStub(channel)
            await self._register(stub)
            self._registered = stub
            async with create_task_group() as tasks:
                tasks.start_soon(self._mirror_status, stub)
                backoff = Backoff(*CONTROLLER_RETRY)
                while True:
                    started = time.monotonic()
                    await self._follow(stub)
                    logger.debug("the controller %s has ended the stream of our status", self._endpoint)
                    await sleep(backoff.after(time.monotonic() - started))

    async def _register(self, stub: Any) -> None:
        request = pb.RegisterRequest(labels=self._session.labels, reports=self._session.reports())
        await stub.Register(request, timeout=CONTROLLER_ANSWER)
        self._refusals = 0
        if not self._was_registered:
            logger.info("registered with the controller %s", self._endpoint)
            self._was_registered = True
            self.changes.notify()

    async def _follow(self, stub: Any) -> None:
        """Take note of leases until the stream that tells of them ends."""
        call = stub.Status(pb.StatusRequest())
        try:
            with fail_after(CONTROLLER_ANSWER):
                status = await asked(call.read)
            while status is not grpc.aio.EOF:
                self._take(stub, status)
                status = await asked(call.read)
        finally:
            call.cancel()

    def _take(self, stub: Any, status: pb.StatusResponse) -> None:
        assignment = None
        if status.leased and status.lease_name:
            assignment = Assignment(status.lease_name, status.client_name, dict(status.context))
        if self._lost_since is not None:
            away = time.monotonic() - self._lost_since
            logger.info("the controller %s answers again, after %.0f s", self._endpoint, away)
            self._lost_since = None
        self.assignment, self._stub = assignment, stub
        self.changes.notify()

    def _failed(self, error: Exception) -> None:
        """Say once per outage that the controller cannot be reached; believe a refusal in the end."""
        code: Any = error.code() if isinstance(error, grpc.aio.AioRpcError) else None
        details = str(error.details() or code.name) if isinstance(error, grpc.aio.AioRpcError) else str(error)
        if code in _REFUSED:
            self._refusals += 1
            if not self._was_registered or self._refusals >= REFUSALS:
                self._give_up(self._refused(code, one_line(details)))
                return
            logger.warning("the controller %s refuses this exporter: %s", self._endpoint, one_line(details))
        else:
            self._refusals = 0
        if self._lost_since is None:
            self._lost_since = time.monotonic()
            reason = details if code in _REFUSED else plain_reason(details or "no answer in time")
            logger.warning(
                "the controller %s is away: %s; trying again until it is back", self._endpoint, one_line(reason)
            )

    def _refused(self, code: grpc.StatusCode, details: str) -> Exception:
        name = self._config.metadata.name
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return NotAllowedError(
                f"the controller {self._endpoint} does not accept the token of exporter {name}: {details}",
                f"put a valid one into {self._config.path}",
            )
        return ConfigurationError(
            f"the controller {self._endpoint} refuses exporter {name}: {details}",
            f"check endpoint, metadata and token in {self._config.path}",
        )

    def _give_up(self, error: Exception) -> None:
        logger.error("%s", error)
        self.refusal = error

    # what we tell

    async def _mirror_status(self, stub: Any) -> None:
        """Tell every change of the session's status, in order; the newest only while that fails."""
        board = self._session.status
        report, backoff = board.current, Backoff(*CONTROLLER_RETRY)
        told: StatusReport | None = None
        while True:
            try:
                if told is None or (told.status, told.message) != (report.status, report.message):
                    await self._report(stub, report)
            except (grpc.aio.AioRpcError, OSError) as e:
                if isinstance(e, grpc.aio.AioRpcError) and e.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
                logger.debug("status %s could not be told: %s", report.status.name, e)
                await sleep(backoff.after())
                report = board.current
                continue
            backoff = Backoff(*CONTROLLER_RETRY)
            told, self._reported = report, report.version
            self.changes.notify()
            report = await board.next(report.version)

    async def _report(self, stub: Any, report: StatusReport) -> None:
        request = pb.ReportStatusRequest(status=report.status.name_on_wire, message=report.message)
        await asked(lambda: stub.ReportStatus(request, timeout=CONTROLLER_ANSWER))

    async def release(self, lease: str) -> None:
        """Tell that a lease has ended, until the controller has understood."""
        backoff = Backoff(*CONTROLLER_RETRY)
        while self._is_in(lease):
            stub = await self.connected()
            if not self._is_in(lease):
                return
            try:
                await self._release(stub, lease)
            except (grpc.aio.AioRpcError, OSError) as e:
                logger.debug("lease %s could not be released: %s", lease, e)
            with move_on_after(backoff.after()):
                await self.changes.until(lambda: not self._is_in(lease))

    async def _release(self, stub: Any, lease: str) -> None:
        try:
            request = pb.ReleaseLeaseRequest(name=lease)
            await asked(lambda: stub.ReleaseLease(request, timeout=CONTROLLER_ANSWER))
        except grpc.aio.AioRpcError as e:
            if e.code() not in _CANNOT_RELEASE:
                raise
            status = self._session.status.current.status
            busy = "EXPORTER_STATUS_AFTER_LEASE_HOOK"  # free it must not seem before the lease is released
            wire = busy if status.name == "AVAILABLE" else status.name_on_wire
            report = pb.ReportStatusRequest(status=wire, release_lease=True)
            await asked(lambda: stub.ReportStatus(report, timeout=CONTROLLER_ANSWER))
            await self._report(stub, self._session.status.current)

    def _is_in(self, lease: str) -> bool:
        return self.assignment is not None and self.assignment.lease == lease

    @asynccontextmanager
    async def line(self) -> AsyncGenerator[None]:
        """Keep the line meanwhile; at the end the controller is told that the exporter stops, if it can be."""
        failure: BaseException | None = None
        async with create_task_group() as tasks:
            tasks.start_soon(self.run)
            try:
                yield
            except BaseException as e:  # noqa: BLE001 raised below, or it would be one of a group
                failure = e
            with CancelScope(shield=True), move_on_after(LEAVE_CONTROLLER):
                await self._leave()
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _leave(self) -> None:
        """Have the last status told, which others see, even where the controller has not told us of leases yet."""
        board = self._session.status
        await self.changes.until(lambda: self._registered is None or self._reported >= board.current.version)
        stub = self._registered
        if stub is None or not self.unregisters:
            return
        request = pb.UnregisterRequest(reason="the exporter stops")
        try:
            await asked(lambda: stub.Unregister(request, timeout=LEAVE_CONTROLLER))
        except (grpc.aio.AioRpcError, OSError) as e:
            logger.debug("the controller could not be told: %s", e)
