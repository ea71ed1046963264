"""The asynchronous client of one driver instance, and the errors that its calls raise."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import grpc
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.enums import ExporterStatus
from ..common.groups import ungrouped
from ..common.limits import HAND_BACK
from ..common.metadata import Metadata
from .errors import (
    DriverBusy,
    DriverError,
    DriverInvalidArgument,
    DriverIOError,
    DriverMethodNotImplemented,
    DriverTimeout,
    ExporterLost,
    ExporterNotReady,
    NotAllowed,
    SessionEnded,
    driver_error,
    error_of_call,
)
from .values import PUBLIC, Values, deadline

if TYPE_CHECKING:
    from anyio.abc import AnyByteStream

    from ..streams.router import RouterStream
    from .connection import IdleStreams
    from .status import StatusChange
    from .status_monitor import StatusMonitor

__all__ = (
    "AsyncDriverClient",
    "DriverBusy",
    "DriverError",
    "DriverIOError",
    "DriverInvalidArgument",
    "DriverMethodNotImplemented",
    "DriverTimeout",
    "ExporterLost",
    "ExporterNotReady",
    "NotAllowed",
    "SessionEnded",
)

_compact = json.JSONEncoder(separators=(",", ":")).encode
"""json.dumps, without making an encoder each time."""

Request = TypeVar("Request", pb.DriverCallRequest, pb.StreamingDriverCallRequest)


@dataclass(kw_only=True)
class AsyncDriverClient(Metadata):
    """Calls the methods of one driver instance. Subclasses give them names, types and commands."""

    # read by pydantic where a subclass is a pydantic dataclass
    __pydantic_config__: ClassVar[dict[str, Any]] = {"arbitrary_types_allowed": True}

    typed_results: ClassVar[bool | None] = None
    """Whether calls return what the driver did: integers, dates, tuples, objects of dataclasses and models.

    Otherwise results have the shape that the public release gives them, which code for that knows: objects are
    mappings, enums their values, dates and UUIDs texts, tuples lists. None: that is so for all classes but the core's.
    """

    stub: Any = field(repr=False)
    """The calls of the exporter's services."""

    log_level: str = field(default="INFO", repr=False)
    """Least severe level that this client logs."""

    logger: logging.Logger = field(init=False, repr=False)
    """Log of this client."""

    path: str = field(init=False, default="")
    """Names from the root down to this instance, joined by dots; empty for the root."""

    unavailable: str = field(init=False, default="", repr=False)
    """Why the device could not be used when the tree was made, as "absent: …" or "faulty: …"; empty where it could."""

    driver_type: pb.DriverType | None = field(init=False, default=None, repr=False)
    """What the exporter says of the driver's class and its methods; None where it says nothing."""

    _told = cast("ExporterStatus | None", None)  # the status, as it was last heard of

    def __post_init__(self) -> None:
        parent = super()
        if hasattr(parent, "__post_init__"):
            parent.__post_init__()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] another base
        self.logger = logging.getLogger(type(self).__name__)
        if logging.getLevelNamesMapping().get(self.log_level) != self.logger.level:
            self.logger.setLevel(self.log_level)  # empties the caches of all loggers

    @property
    def _values(self) -> Values:
        return getattr(self.stub, "values", PUBLIC)

    def _request(
        self,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: Callable[..., Request] = pb.DriverCallRequest,
    ) -> Request:
        request = kind(uuid=str(self.uuid), method=method)
        where = f"{self.path}.{method}" if self.path else method
        self._values.write(request, args, kwargs, where, public_shape=not is_typed(type(self)))
        return request

    async def call_async(self, method: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:  # noqa: ASYNC109 gRPC's own
        """Call an exported method with these arguments and return its result, as the driver returned it.

        `timeout` is in seconds; a parameter of the method with that name is passed by position. Raises DriverError or
        one of its subclasses, whose text has what the driver said, and DriverTimeout where the time is over.
        """
        try:
            response = await self.stub.DriverCall(self._request(method, args, kwargs), timeout=deadline(timeout))
        except grpc.RpcError as e:
            raise driver_error(e, self.path, method, timeout) from e
        return self._values.read(response)

    async def streamingcall_async(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,  # noqa: ASYNC109 gRPC's own
        **kwargs: Any,
    ) -> AsyncGenerator[Any]:
        """The items of an exported generator, which ends when this one is closed, or after `timeout` seconds.

        Raises as `call_async` does.
        """
        request = self._request(method, args, kwargs, pb.StreamingDriverCallRequest)
        call = self.stub.StreamingDriverCall(request, timeout=deadline(timeout))
        read = self._values.read_items
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                for item in read(response):
                    yield item
        except grpc.RpcError as e:
            raise driver_error(e, self.path, method, timeout) from e
        finally:
            call.cancel()

    def stream_async(self, method: str = "connect", *, wait: bool = True) -> AbstractAsyncContextManager[RouterStream]:
        """Open a byte stream that the driver exports; closed cleanly at the end, cut off by an exception.

        What the driver says of the stream is its typed attribute `MetadataStreamAttributes.metadata`.
        Without `wait` it can be used at once, and a failure to open it breaks it later.
        """
        return self._stream({"kind": "driver", "uuid": str(self.uuid), "method": method}, method, wait)

    @asynccontextmanager
    async def resource_async(
        self, stream: AnyByteStream, content_encoding: str | None = None, *, size: int | None = None
    ) -> AsyncGenerator[dict[str, Any]]:
        """Offer a byte stream to the driver meanwhile: what it reads comes from it, what it writes goes to it.

        With a `content_encoding` (gzip, xz, bz2 or zstd), the stream holds encoded bytes and the driver sees what they
        stand for. `size` is how many bytes the stream has, where it is known and not encoded: fewer are an error at the
        driver. Yields the handle, an argument for a call; leaving waits until the driver is done with it.
        """
        from anyio import BrokenResourceError

        from ..streams.common import forward_stream
        from ..streams.metadata import ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, MetadataStreamAttributes

        request: dict[str, Any] = {"kind": "resource", "uuid": str(self.uuid), CONTENT_ENCODING: None}
        if content_encoding is not None:
            from ..streams.encoding import encoding_named

            request[CONTENT_ENCODING] = encoding_named(content_encoding)
        elif size is not None:
            request[CONTENT_LENGTH] = size
        async with self._stream(request, "resource", wait=True, summed=True) as remote:
            answer = remote.extra(MetadataStreamAttributes.metadata)
            handle = json.loads(answer["resource"])
            if content_encoding is not None and answer.get(ACCEPT_ENCODING) != content_encoding:
                from ..streams.encoding import DecodedStream, encoding_named

                decoded = DecodedStream(stream, encoding_named(content_encoding), may_be_empty=True)
                stream, handle[CONTENT_ENCODING] = decoded, None
            said: list[Exception] = []
            try:
                async with forward_stream(stream, remote):
                    try:
                        yield handle
                    except Exception as e:
                        said.append(e)
                        raise
            except BrokenResourceError:
                if said:  # a call that failed says more than the stream that broke with it
                    raise said[0]  # noqa: B904 it is no consequence of that
                raise

    @asynccontextmanager
    async def _stream(
        self, request: dict[str, Any], what: str, wait: bool, summed: bool = False
    ) -> AsyncGenerator[RouterStream]:
        from anyio import BrokenResourceError

        from ..streams.router import FINISHES, QUICK, RouterStream
        from .broken import StreamBroken, broken_stream, unused

        idle: IdleStreams | None = None if wait else getattr(self.stub, "idle_streams", None)
        call = idle.take() if idle is not None else None
        text = _compact({**request, FINISHES: True} if idle is None else {**request, QUICK: True})
        follows = text.encode() if call is not None else None
        if call is None:
            call = self.stub.Stream(metadata=(("request", text),))
        stream = RouterStream(call, summed=summed, quick=idle is not None, request=follows)
        try:
            if wait:
                await stream.opened()
                if call.done():  # refused: the status came instead
                    raise await error_of_call(call, self.path, what)
            yield stream
            await stream.aclose()
            if stream.is_late:
                raise unused(self.path, what)
            if stream.broke is not None:
                raise stream.broke
        except grpc.RpcError as e:
            raise driver_error(e, self.path, what) from e
        except StreamBroken:
            raise
        except BrokenResourceError as e:
            failure = await broken_stream(call, stream.reset, e, self.path, what)
            if failure is e:
                raise
            raise failure from e
        finally:
            stream.abort()
            if idle is not None and stream.leaves_call:
                idle.put(call)

    @asynccontextmanager
    async def log_stream_async(self, show_all_logs: bool = True) -> AsyncGenerator[None]:
        """Write the exporter's log to the loggers `exporter:driver`, `exporter:system`, ... meanwhile.

        Without `show_all_logs` only the lines of hooks are written.
        """
        from anyio import create_task_group

        from .logs import follow_logs

        with ungrouped():
            async with create_task_group() as tasks:
                tasks.start_soon(follow_logs, self.stub, show_all_logs)
                yield
                tasks.cancel_scope.cancel()

    if not TYPE_CHECKING:  # a driver's client may have a method of that name, which need not fit anything here

        @property
        def status(self) -> Any:
            """The exporter's status when this client last heard of it, None before that.

            A child, or a method of the driver, that has this name takes its place.
            """
            return getattr(self, "children", {}).get("status", self._told)

    async def get_status_async(self) -> ExporterStatus | None:
        """The exporter's status, None where it is too old to tell."""
        try:
            response = await self.stub.GetStatus(pb.GetStatusRequest())
        except grpc.RpcError as e:
            if e.code() is grpc.StatusCode.UNIMPLEMENTED:  # pyright: ignore[reportAttributeAccessIssue]
                return None
            raise driver_error(e, "", "status") from e
        self._told = ExporterStatus.from_proto(response.status)
        return self._told

    async def check_exporter_status(self) -> None:
        """Raise ExporterNotReady unless the exporter takes calls."""
        status = await self.get_status_async()
        if status is not None and not status.is_ready:
            raise ExporterNotReady(f"exporter is {status.name}")

    async def status_changes_async(self) -> AsyncGenerator[StatusChange]:
        """The exporter's status now, and every later one as it comes; ends where the exporter is too old to tell."""
        from .status import follow_async

        async with aclosing(follow_async(self.stub)) as changes:
            async for change in changes:
                self._told = change.status
                yield change

    @asynccontextmanager
    async def status_monitor_async(self, poll_interval: float = 0.3) -> AsyncGenerator[StatusMonitor]:
        """What follows the exporter's status meanwhile; `poll_interval` is for one that does not tell of changes."""
        from anyio import create_task_group

        from .status_monitor import StatusMonitor

        monitor = StatusMonitor(self.stub, poll_interval)
        monitor.on_status_change(self._note_status)
        with ungrouped():
            async with create_task_group() as tasks:
                await monitor.start(tasks)
                yield monitor
                tasks.cancel_scope.cancel()

    def _note_status(self, before: ExporterStatus | None, now: ExporterStatus) -> None:
        self._told = now

    async def wait_for_lease_ready(self, timeout: float = 300.0) -> None:  # noqa: ASYNC109 as in the public release
        """Wait until drivers may be used. Raises ExporterNotReady where the exporter stops, its hook has failed, or
        `timeout` seconds are over."""
        targets = (
            ExporterStatus.LEASE_READY,
            ExporterStatus.OFFLINE,
            ExporterStatus.BEFORE_LEASE_HOOK_FAILED,
            ExporterStatus.AFTER_LEASE_HOOK_FAILED,
        )
        async with self.status_monitor_async() as monitor:
            status = await monitor.wait_for_any_of(targets, timeout)
            if status is ExporterStatus.LEASE_READY or monitor.get_status_unsupported:
                return
            told = (status or monitor.current_status or ExporterStatus.UNSPECIFIED).name
            raise ExporterNotReady(
                f"exporter is {told}{': ' if monitor.status_message else ''}{monitor.status_message}"
            )

    async def wait_for_hook_status(self, target_status: ExporterStatus, timeout: float = 60.0) -> bool:  # noqa: ASYNC109 as in the public release
        """Wait for a status, at most so many seconds; whether it came."""
        async with self.status_monitor_async() as monitor:
            return await monitor.wait_for_status(target_status, timeout)

    async def end_session_async(self) -> bool:
        """Ask the exporter to end the session, and wait until it has taken the devices back.

        False where it is not ours alone, as with calls outside of `jmp shell`: that ends by itself.
        """
        try:
            response = await self.stub.EndSession(pb.EndSessionRequest(), timeout=HAND_BACK)
        except grpc.RpcError as e:
            return session_has_ended(e)
        return response.success


@cache
def is_typed(cls: type[AsyncDriverClient]) -> bool:
    """Whether clients of a class get what drivers return."""
    declared = cls.typed_results
    return cls.__module__.startswith("jumpstarter.client.") if declared is None else declared


def session_has_ended(error: grpc.RpcError) -> bool:
    """Whether a session that could not be ended is over all the same: its exporter is gone, or takes its time."""
    return error.code() is not grpc.StatusCode.UNIMPLEMENTED  # pyright: ignore[reportAttributeAccessIssue]
