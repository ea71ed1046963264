"""The gRPC face of a session: decode, dispatch, encode, and the status for what went wrong. No device knowledge."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from anyio import move_on_after
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.limits import STATUS_WAIT
from ..common.services import EXPORTER_SERVICE, ROUTER_SERVICE, Method, exporter_methods
from ..driver.base import Driver
from ..driver.describe import describe_type
from ..driver.table import ExportedMethod, Kind, exported_methods
from ..streams import frames
from .calls import Arguments
from .errors import DRIVER_FAILURES, Failure, explain, refuse
from .gate import Gate
from .lane import Lane
from .logging import LogLine, driver_type
from .ownership import Tenure
from .recordentries import Running
from .session import Session
from .status import StatusReport
from .streams import offers_in, serve_stream
from .values import ADDITIONS, read_arguments, write_items, write_result

Context = Any
"""A grpc.aio servicer context; its stubs know no methods of the version in use."""


class SessionService:
    """The two services of a session, as handlers for a gRPC server."""

    def __init__(self, session: Session, gate: Gate | None = None) -> None:
        self._session = session
        self._gate = gate or Gate(session)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The handlers of ExporterService and RouterService."""
        return _Handlers(self._handler)

    def _handler(self, path: str) -> Any:
        """The handler of a call; None where there is none."""
        service, _, name = path.removeprefix("/").partition("/")
        if (service, name) == (ROUTER_SERVICE, "Stream"):
            return grpc.stream_stream_rpc_method_handler(self.stream, frames.decode, frames.Frame.serialize)
        method = exporter_methods().get(name)
        if service != EXPORTER_SERVICE or method is None:
            return None
        return _kind_of_handler(method)(
            _refusing_garbage(getattr(self, _snake(name))),
            _parsing(method.request.FromString),
            method.response.SerializeToString,
        )

    # what there is

    async def get_report(self, request: Empty, context: Context) -> pb.GetReportResponse:
        try:
            return self._report()
        except DRIVER_FAILURES as e:  # of a driver's own report(), client() or enumerate()
            await refuse(self._session, context, "", "report", e)

    def _report(self) -> pb.GetReportResponse:
        session = self._session
        kinds = dict.fromkeys(type(device) for _, _, _, device in session.tree())
        return pb.GetReportResponse(
            uuid=str(session.uuid),
            labels=session.labels,
            reports=session.reports(),
            motd=session.motd,
            driver_types=[describe_type(kind) for kind in kinds],
            additions=ADDITIONS,
        )

    async def get_status(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        board = self._session.status
        report = board.current
        if request.HasField("after_version"):
            with move_on_after(STATUS_WAIT):
                report = await board.next(request.after_version)
        return _status_response(report)

    async def log_stream(self, request: Empty, context: Context) -> None:
        async with aclosing(self._session.log.read()) as lines:
            async for line in lines:
                await context.write(_log_response(line))

    # calls

    async def _admit(self, request: pb.DriverCallRequest | pb.StreamingDriverCallRequest, context: Context) -> Tenure:
        """What a call belongs to. Raises where it may not run."""
        method = exported_methods(type(self._session.instance(request.uuid))).get(request.method)
        return await self._gate.admit(context, read_only=method is not None and method.options.read_only)

    def _dispatch(
        self, request: pb.DriverCallRequest | pb.StreamingDriverCallRequest, kind: Kind
    ) -> tuple[Driver, ExportedMethod, Arguments, Running]:
        """The driver and method that a request names, its arguments, converted, and the call as it is recorded."""
        session = self._session
        driver = session.instance(request.uuid)
        method = session.method(driver, request.method, kind)
        args, kwargs = read_arguments(request, driver)
        noted = session.record.call(session.path(driver), method.name, method.function, args, kwargs)
        try:
            return driver, method, method.arguments(driver, args, kwargs), noted
        except ValueError as e:
            noted.refused(e)
            raise

    async def driver_call(self, request: pb.DriverCallRequest, context: Context) -> pb.DriverCallResponse:
        response = pb.DriverCallResponse()
        try:
            await self._call(request, response, context)
        except DRIVER_FAILURES as e:
            await self._fail(context, request, e)
        return response

    async def driver_calls(self, requests: object, context: Context) -> None:
        await Lane(self._call, self._explain, context).serve()

    async def _call(self, request: pb.DriverCallRequest, response: pb.DriverCallResponse, context: Context) -> None:
        """Make a call and put its result into the response."""
        session = self._session
        with await self._admit(request, context):
            await session.check_usable(request.uuid)
            driver, method, arguments, noted = self._dispatch(request, "call")
            with noted, offers_in(driver, arguments):
                result = await session.calls.call(driver, method, arguments)
                write_result(response, result, method, request)
            session.succeeded(driver)

    def _explain(self, request: pb.DriverCallRequest, error: BaseException, context: Context) -> Failure:
        return explain(self._session, context, request.uuid, request.method, error)

    async def streaming_driver_call(self, request: pb.StreamingDriverCallRequest, context: Context) -> None:
        try:
            with await self._admit(request, context):
                await self._session.check_usable(request.uuid)
                driver, method, arguments, noted = self._dispatch(request, "streamingcall")
                noted.items = 0
                with noted, offers_in(driver, arguments):
                    async with aclosing(self._session.calls.batches(driver, method, arguments)) as batches:
                        async for batch in batches:
                            noted.items += len(batch)
                            for response in write_items(batch, method, request):
                                await context.write(response)
                self._session.succeeded(driver)
        except DRIVER_FAILURES as e:
            await self._fail(context, request, e)

    async def _fail(
        self, context: Context, request: pb.DriverCallRequest | pb.StreamingDriverCallRequest, error: BaseException
    ) -> NoReturn:
        await refuse(self._session, context, request.uuid, request.method, error)

    # the session

    async def reset(self, request: pb.ResetRequest, context: Context) -> pb.ResetResponse:
        try:
            with await self._gate.admit(context):
                await self._session.reset()
        except DRIVER_FAILURES as e:
            await refuse(self._session, context, "", "reset", e)
        return pb.ResetResponse()

    async def end_session(self, request: pb.EndSessionRequest, context: Context) -> pb.EndSessionResponse:
        ended, text = await self._gate.end_session(context)
        return pb.EndSessionResponse(success=ended, message=text)

    # byte streams

    async def stream(self, requests: Any, context: Context) -> None:
        await serve_stream(self._session, self._gate, context)


def _status_response(report: StatusReport) -> pb.GetStatusResponse:
    response = pb.GetStatusResponse(
        status=report.status.name_on_wire,
        message=report.message,
        status_version=report.version,
        previous_status=report.previous.name_on_wire if report.previous is not None else None,
    )
    if (holder := report.holder) is not None:
        response.holder.MergeFrom(
            pb.SessionHolder(user=holder.user, host=holder.host, pid=holder.pid, purpose=holder.purpose)
        )
        response.holder.since.FromNanoseconds(int(holder.since * 1e9))
    return response


def _log_response(line: LogLine) -> pb.LogStreamResponse:
    response = pb.LogStreamResponse(
        severity=line.severity,
        message=line.message,
        source=line.source.name_on_wire,
        operation=line.operation,
        structured_fields=line.fields,
    )
    response.timestamp.FromNanoseconds(int(line.time * 1e9))
    if line.driver is not None:
        response.uuid, response.driver_type = str(line.driver.uuid), driver_type(line.driver)
    return response


class _Handlers(grpc.GenericRpcHandler):
    """Makes the handler of a call when that is first made."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make, self._made = make, dict[str, Any]()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        handler = self._made.get(path)
        if handler is None and (handler := self._make(path)) is not None:
            self._made[path] = handler
        return handler


def _kind_of_handler(method: Method) -> Callable[..., Any]:
    if method.takes_stream:
        return grpc.stream_stream_rpc_method_handler
    return grpc.unary_stream_rpc_method_handler if method.streams else grpc.unary_unary_rpc_method_handler


def _parsing(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The parser of a message, but with the error as its result: what it raises has no status that fits."""

    def parsed(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as e:
            return e

    return parsed


def _refusing_garbage(method: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Any]:
    """The call, but for a request that is no message."""

    async def call(request: Any, context: Context) -> Any:
        if isinstance(request, DecodeError):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request is malformed: {request}")
        return await method(request, context)

    return call


def _snake(name: str) -> str:
    """The name of the function here that answers a call: GetReport → get_report."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
