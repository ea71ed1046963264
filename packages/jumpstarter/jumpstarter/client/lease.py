"""A lease of a client: asked for, waited for, used through a local socket, and given back."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import grpc
from anyio import BrokenResourceError, CancelScope, ClosedResourceError, create_task_group, move_on_after, sleep
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from jumpstarter_protocol.jumpstarter.v1.jumpstarter_pb2_grpc import ControllerServiceStub

from ..common.backoff import Backoff
from ..common.exceptions import ConfigurationError, JumpstarterException
from ..common.limits import CONTROLLER_ANSWER, LEASE_POLL, RELEASE_LEASE
from ..common.tempfile import TemporaryUnixListener
from ..common.text import one_line
from ..streams.tunnel import carry
from . import grpc as controller
from .directlease import DirectLease
from .exceptions import ControllerError, LeaseError
from .grpc import ClientService, ControllerAway, controller_error

if TYPE_CHECKING:
    from anyio.abc import SocketStream

    from ..config.tls import TLSConfigV1Alpha1
    from ..streams.portal import Portal
    from .base import DriverClient

__all__ = ["ENDING_SOON", "DirectLease", "Lease"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

ENDING_SOON = timedelta(minutes=5)
"""Time before the end of a lease at which its user is warned."""

_BUSY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
"""What a dial is answered that may succeed soon."""


@dataclass(kw_only=True)
class Lease:
    """A lease of an exporter. A context manager, for blocking code and for the event loop of `portal`.

    On entry it is there, and an exporter with it: LeaseError where that cannot be, or takes longer than
    `acquisition_timeout`. On exit it is given back, where `release` says so.
    """

    channel: Any
    """grpc.aio channel to the controller."""
    duration: timedelta = timedelta(minutes=30)
    selector: str | None = None
    """Labels that the exporter has to have."""
    portal: Portal
    namespace: str
    allow: Sequence[str] = ()
    unsafe: bool = False
    name: str | None = None
    """Of a lease that there is; one is made without it."""
    requested_exporter_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    release: bool = True
    tls_config: TLSConfigV1Alpha1
    grpc_options: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    client_name: str | None = None
    """Who we are, so that a lease that is handed to somebody else is noticed."""
    acquisition_timeout: float = 7200
    """Seconds until the exporter is there."""
    dial_timeout: float = 30
    """Seconds until the exporter takes a connection."""
    retry_timeout: float = 300
    """Seconds for which a controller that is away is waited for."""
    where: str = "of the lease"
    """What errors call the controller."""

    exporter_name: str = field(default="", init=False)
    exporter_labels: dict[str, str] = field(default_factory=dict[str, str], init=False)
    lease_ended: bool = field(default=False, init=False)
    """It is over, since its time is, or it was taken away."""
    lease_transferred: bool = field(default=False, init=False)
    """It is another client's now."""
    lease_ending_callback: Callable[[Lease, timedelta], object] | None = field(default=None, init=False)
    """Called with the time that is left, once shortly before its end and once at that."""

    _service: ClientService = field(init=False, repr=False)
    _entered: AbstractContextManager[Lease] | None = field(default=None, init=False, repr=False)
    _running: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.refresh_channel(self.channel)

    def refresh_channel(self, channel: Any) -> None:
        """Use another channel from now on, such as one with a fresh token."""
        self.channel = channel
        self._service = ClientService(channel, self.namespace, where=self.where)

    # life

    def __enter__(self) -> Lease:
        self._entered = self.portal.wrap_async_context_manager(self.running())
        return self._entered.__enter__()

    def __exit__(self, *exc: Any) -> None:
        assert self._entered is not None
        self._entered.__exit__(*exc)

    async def __aenter__(self) -> Lease:
        self._running = self.running()
        return await self._running.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        await self._running.__aexit__(*exc)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Lease]:
        """Have the lease meanwhile."""
        try:
            await self.request_async()
            yield self
        finally:
            if self.release and self.name is not None and not self.lease_ended:
                with CancelScope(shield=True), move_on_after(RELEASE_LEASE):
                    await self._delete(self.name)

    async def _delete(self, name: str) -> None:
        try:
            await self._service.DeleteLease(name=name)
        except JumpstarterException as e:
            if isinstance(e, ControllerError):  # it is over already
                logger.debug("lease %s was not released: %s", name, e)
            else:
                logger.warning("lease %s was not released, and lasts until its end: %s", name, e)

    # getting it

    def request(self) -> Lease:
        """Ask for the lease, and wait until the exporter is there; done on entry."""
        return self.portal.call(self.request_async)

    async def request_async(self) -> Lease:
        """The same on the event loop."""
        limit = self.acquisition_timeout
        with move_on_after(limit):
            lease = await (self._existing() if self.name is not None else self._new())
            self.exporter_name = lease.exporter
            await self._learn_labels()
            return self
        raise LeaseError(
            f"no exporter was free within {limit:g} s: {self._wish()}",
            "wait longer with --acquisition-timeout SECONDS",
            code="busy",
        )

    def _wish(self) -> str:
        return self.selector or self.requested_exporter_name or f"lease {self.name}"

    async def _existing(self) -> controller.Lease:
        assert self.name is not None
        lease = await self._patiently(lambda: self._service.GetLease(name=str(self.name)))
        if self.client_name is not None and lease.client != self.client_name:
            raise LeaseError(f"lease {self.name} is one of client {lease.client}", code="not-allowed")
        if lease.effective_end_time is not None:
            raise LeaseError(f"lease {self.name} has ended: {lease.status}", "make another one", code="session-ended")
        if self.selector and self.selector != lease.selector:
            logger.warning(
                "lease %s is for %s, not for %s; another one is made", self.name, lease.selector, self.selector
            )
            self.release = True
            return await self._new()
        return await self._until_ready(lease)

    async def _new(self) -> controller.Lease:
        """Make a lease and wait for it. Its name is ours, so that asking twice makes one lease only."""
        if not self.selector and not self.requested_exporter_name:
            raise LeaseError("a lease needs a selector or the name of an exporter", code="usage")
        backoff = Backoff(1.0, 30.0)
        while True:
            self.name = str(uuid4())
            lease = await self._patiently(self._create)
            logger.info("waiting for lease %s: %s", self.name, self._wish())
            refusal = lease.condition("Unsatisfiable")
            if refusal is None or not refusal.status or refusal.reason != "NoExporter":
                return await self._until_ready(lease)
            await sleep(backoff.after())

    async def _create(self) -> controller.Lease:
        try:
            return await self._service.CreateLease(
                duration=self.duration,
                selector=self.selector,
                exporter_name=self.requested_exporter_name,
                lease_id=self.name,
                tags=dict(self.tags),
            )
        except ControllerError as e:
            if getattr(e.__cause__, "code", lambda: None)() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
            return await self._service.GetLease(name=str(self.name))  # the answer to an earlier attempt was lost

    async def _until_ready(self, lease: controller.Lease) -> controller.Lease:
        delay = 0.1
        while not self._check(lease):
            await sleep(delay)
            delay = min(1.5 * delay, LEASE_POLL)
            lease = await self._patiently(lambda: self._service.GetLease(name=str(self.name)))
        return lease

    def _check(self, lease: controller.Lease) -> bool:
        """Whether a lease can be used; LeaseError where it never will be."""
        for kind in ("Unsatisfiable", "Invalid"):
            condition = lease.condition(kind)
            if condition is not None and condition.status:
                why = condition.message or condition.reason
                raise LeaseError(f"no exporter for {self._wish()}: {why}", "see jmp get exporters")
        ready, pending = lease.condition("Ready"), lease.condition("Pending")
        if ready is not None and ready.status:
            return True
        over = lease.effective_end_time is not None or (ready is not None and ready.reason in ("Released", "Expired"))
        if over or (pending is not None and pending.status is False and ready is not None):
            reason = ready.reason if ready is not None else lease.status
            raise LeaseError(f"lease {lease.name} has ended: {reason or 'it was released'}", code="session-ended")
        return False

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call of the controller, which may be away for a while."""
        backoff, away_since = Backoff(1.0, 10.0), None
        while True:
            try:
                return await call()
            except ControllerAway as e:
                if away_since is None:
                    away_since = time.monotonic()
                    logger.warning("%s; trying again for %.0f s", e, self.retry_timeout)
                delay = backoff.after()
                if time.monotonic() + delay > away_since + self.retry_timeout:
                    raise
                await sleep(delay)

    async def _learn_labels(self) -> None:
        try:
            exporter = await self._service.GetExporter(name=self.exporter_name)
        except JumpstarterException as e:
            logger.warning("the labels of exporter %s are not known: %s", self.exporter_name, e)
        else:
            self.exporter_labels = exporter.labels

    # using it

    @asynccontextmanager
    async def serve_unix_async(self) -> AsyncGenerator[Path]:
        """A unix socket, each connection of which goes to the exporter; yields its path."""
        async with TemporaryUnixListener(self._connect) as path:
            yield path

    @contextmanager
    def serve_unix(self) -> Generator[Path]:
        """The same for blocking code."""
        with self.portal.wrap_async_context_manager(self.serve_unix_async()) as path:
            yield path

    @asynccontextmanager
    async def connect_async(self, stack: ExitStack) -> AsyncGenerator[DriverClient]:
        """The client of the exporter's root."""
        from .client import client_from_path

        async with (
            self.serve_unix_async() as path,
            client_from_path(str(path), self.portal, stack, self.allow, self.unsafe) as client,
        ):
            yield client

    @contextmanager
    def connect(self) -> Generator[DriverClient]:
        """The same for blocking code."""
        from .client import connect
        from .connection import Endpoint
        from .tree import Policy

        with (
            self.serve_unix() as path,
            connect(Endpoint(str(path)), Policy.of(self.allow, self.unsafe), self.portal) as client,
        ):
            yield client

    async def _connect(self, stream: SocketStream) -> None:
        """Carry one connection to the exporter, whatever becomes of it."""
        try:
            dial = await self.dial_async()
            await carry(dial.router_endpoint, dial.router_token, stream, self.tls_config, self.grpc_options)
        except (LeaseError, ControllerError, ControllerAway) as e:
            logger.warning("%s", e)
        except (BrokenResourceError, ClosedResourceError, OSError, ConfigurationError) as e:
            logger.info("a connection to exporter %s ended: %s", self.exporter_name, one_line(str(e)))
        finally:
            with CancelScope(shield=True):
                await stream.aclose()

    async def dial_async(self) -> pb.DialResponse:
        """Ask the controller for a way to the exporter, until `dial_timeout` is over.

        Raises LeaseError where there is none any more, ControllerAway or ControllerError otherwise.
        """
        stub: Any = ControllerServiceStub(self.channel)
        deadline, backoff = time.monotonic() + self.dial_timeout, Backoff(0.3, 2.0)
        while True:
            try:
                request = pb.DialRequest(lease_name=self.name)
                return await stub.Dial(request, timeout=max(CONTROLLER_ANSWER, deadline - time.monotonic()))
            except grpc.aio.AioRpcError as e:
                self._check_dial(e)
                delay = backoff.after()
                if time.monotonic() + delay > deadline:
                    raise controller_error(e, self.where) from e
            await sleep(delay)

    def _check_dial(self, error: grpc.aio.AioRpcError) -> None:
        """Raise unless another attempt makes sense."""
        code, details = error.code(), str(error.details())
        if "permission denied" in details:
            self.lease_transferred = True
            raise LeaseError(f"lease {self.name} belongs to another client now", code="not-allowed") from error
        if "not active" in details or code is grpc.StatusCode.NOT_FOUND:
            self.lease_ended = True
            raise LeaseError(f"lease {self.name} has ended", "make another one", code="session-ended") from error
        if code not in _BUSY and not (code is grpc.StatusCode.FAILED_PRECONDITION and "not ready" in details):
            raise controller_error(error, self.where) from error

    # its end

    @asynccontextmanager
    async def monitor_async(self, threshold: timedelta = ENDING_SOON) -> AsyncGenerator[None]:
        """Follow what becomes of the lease meanwhile, and tell `lease_ending_callback`."""
        async with create_task_group() as tasks:
            tasks.start_soon(self._follow, threshold)
            yield
            tasks.cancel_scope.cancel()

    @contextmanager
    def monitor(self, threshold: timedelta = ENDING_SOON) -> Generator[None]:
        """The same for blocking code."""
        with self.portal.wrap_async_context_manager(self.monitor_async(threshold)):
            yield

    async def look_async(self) -> None:
        """Ask what has become of the lease, once, for a few seconds. Raises what `ClientService` does."""
        with move_on_after(LEASE_POLL):
            self._left(await self._service.GetLease(name=str(self.name)))

    def look(self) -> None:
        """The same for blocking code."""
        self.portal.call(self.look_async)

    async def _follow(self, threshold: timedelta) -> None:
        has_warned = False
        while not self.lease_ended and not self.lease_transferred:
            await sleep(LEASE_POLL)
            try:
                lease = await self._service.GetLease(name=str(self.name))
            except JumpstarterException as e:  # the exporter knows better, and so does the controller later
                logger.debug("what becomes of lease %s is not known: %s", self.name, e)
                continue
            left = self._left(lease)
            if left <= timedelta():
                self._tell(left)
            elif left <= threshold < self.duration and not has_warned:
                has_warned = True
                self._tell(left)
            elif left > threshold:
                has_warned = False  # it was extended

    def _left(self, lease: controller.Lease) -> timedelta:
        """How long it lasts; nothing where it is over, or another client's."""
        if self.client_name is not None and lease.client != self.client_name:
            self.lease_transferred = True
            return timedelta()
        if lease.effective_end_time is not None:
            self.lease_ended = True
            return timedelta()
        end = lease.end_time
        return end - datetime.now(UTC) if end is not None else self.duration

    def _tell(self, left: timedelta) -> None:
        if left <= timedelta() and not (self.lease_ended or self.lease_transferred):
            return  # our clock may be wrong: the controller will say so
        if self.lease_ending_callback is not None:
            self.lease_ending_callback(self, max(left, timedelta()))
