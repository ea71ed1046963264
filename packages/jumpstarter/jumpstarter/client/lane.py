"""Asynchronous calls by one stream: each costs less than half of what a call of its own does.

Used with exporters that say that they know it. A call with a deadline, or with much data, still goes by itself.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.limits import BATCH_BYTES, LANE_CALLS
from .errors import CallEnd, rpc_error


class Lanes:
    """`DriverCall` of a stub: by the lane, which is opened when it is first used and again after it broke."""

    def __init__(self, open_stream: Callable[[], Any], by_itself: Callable[..., Any]) -> None:
        """`open_stream` begins a call of DriverCalls, `by_itself` is DriverCall."""
        self._open = open_stream
        self._by_itself = by_itself
        self._lane: Lane | None = None

    def __call__(self, request: pb.DriverCallRequest, timeout: float | None = None) -> Any:
        """An awaitable for the response, which raises grpc.RpcError as DriverCall does."""
        if timeout is not None or request.ByteSize() > BATCH_BYTES:
            return self._by_itself(request, timeout=timeout)
        lane = self._lane
        if lane is None or lane.end is not None:
            lane = self._lane = Lane(self._open())
        elif lane.is_full:
            return self._by_itself(request, timeout=timeout)
        return lane.call(request)

    def close(self) -> None:
        """End the stream; calls that wait on it fail."""
        if self._lane is not None:
            self._lane.close()


class Lane:
    """The calls on one stream. Its two tasks, which alone await gRPC, end with it."""

    def __init__(self, stream: Any) -> None:
        self.end: CallEnd | None = None
        """How the stream ended; None while it can be used."""

        self._stream = stream
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[pb.DriverCallsResponse.Outcome | None]] = {}
        self._calls: deque[tuple[int, pb.DriverCallRequest]] = deque()
        self._cancelled: list[int] = []
        self._wanted: asyncio.Future[None] | None = None
        self._tasks = [
            asyncio.create_task(self._read(), name="calls: read"),
            asyncio.create_task(self._write(), name="calls: write"),
        ]

    @property
    def is_full(self) -> bool:
        """Whether it has as many calls as an exporter takes."""
        return len(self._waiting) >= LANE_CALLS

    async def call(self, request: pb.DriverCallRequest) -> pb.DriverCallResponse:
        """The response to a request; raises grpc.RpcError."""
        if self.end is not None:  # since this was awaited late
            raise self.end.error()
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._calls.append((number, request))
        self._wake()
        try:
            outcome = await future
        except asyncio.CancelledError:
            if (number, request) in self._calls:
                self._calls.remove((number, request))
            elif number in self._waiting:
                self._cancelled.append(number)
                self._wake()
            raise
        finally:
            self._waiting.pop(number, None)
        if outcome is None:
            assert self.end is not None
            raise self.end.error()
        if outcome.HasField("failure"):
            raise rpc_error(outcome.failure)
        return outcome.response

    def close(self) -> None:
        """End the stream, and with it the calls on it."""
        self._stream.cancel()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():  # it is where the event loop ends
            self._wanted.set_result(None)

    async def _write(self) -> None:
        try:
            while self.end is None:
                if not self._calls and not self._cancelled:
                    self._wanted = asyncio.get_running_loop().create_future()
                    await self._wanted
                    continue
                await self._stream.write(self._next_message())
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 the reader learns why
            self._stream.cancel()  # nothing more is sent, so nothing may wait for an answer

    def _next_message(self) -> pb.DriverCallsRequest:
        """As much of what waits as belongs in one message."""
        message, size = pb.DriverCallsRequest(cancelled=self._cancelled), 0
        self._cancelled.clear()
        while self._calls and size < BATCH_BYTES:
            number, request = self._calls.popleft()
            size += request.ByteSize()
            message.calls.add(number=number, request=request)
        return message

    async def _read(self) -> None:
        try:
            while (message := await self._stream.read()) is not grpc.aio.EOF:
                for outcome in message.outcomes:
                    future = self._waiting.pop(outcome.number, None)
                    if future is not None and not future.done():
                        future.set_result(outcome)
            end = CallEnd.of(
                await self._stream.code(), await self._stream.details(), await self._stream.trailing_metadata()
            )
        except grpc.aio.AioRpcError as e:
            end = CallEnd.of(e.code(), e.details(), e.trailing_metadata())
        except (Exception, asyncio.CancelledError) as e:  # noqa: BLE001 raised by all calls that wait
            end = CallEnd(grpc.StatusCode.CANCELLED, str(e) or "the connection was closed", None)
        self._finish(end)

    def _finish(self, end: CallEnd) -> None:
        self.end = end
        self._stream.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)
        self._wake()
