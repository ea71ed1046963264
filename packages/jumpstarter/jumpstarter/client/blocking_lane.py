"""Blocking calls by one stream, as those of `lane`, for clients that make more than a few.

There is no thread that reads: of the callers that wait, one reads for all, and passes that on when it has its answer.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import grpc
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.limits import BATCH_BYTES, LANE_CALLS
from .errors import CallEnd, rpc_error

FEW = 4
"""Calls that go by themselves first: for these, another stream would not pay."""


class BlockingLanes:
    """`DriverCall` of a blocking stub; see `lane.Lanes`."""

    def __init__(self, open_stream: Callable[..., Any], by_itself: Callable[..., Any]) -> None:
        """`open_stream` begins a call of DriverCalls with an iterator of requests, `by_itself` is DriverCall."""
        self._open = open_stream
        self._by_itself = by_itself
        self._lock = threading.Lock()
        self._lane: BlockingLane | None = None
        self._left = FEW
        self._is_closed = False

    def __call__(self, request: pb.DriverCallRequest, timeout: float | None = None) -> pb.DriverCallResponse:
        """The response; raises grpc.RpcError as DriverCall does."""
        lane = None
        if timeout is None and request.ByteSize() <= BATCH_BYTES:
            lane = self._lane
            if lane is None or lane.end is not None:
                lane = self._next_lane()
        if lane is None or lane.is_full:
            return self._by_itself(request, timeout=timeout)
        return lane.call(request)

    def _next_lane(self) -> BlockingLane | None:
        """A lane once there were more than a few calls, and again after one that ended."""
        with self._lock:
            if self._lane is not None and self._lane.end is not None:
                self._lane.close()
                self._lane, self._left = None, FEW
            if self._lane is None and not self._is_closed:
                self._left -= 1
                if self._left < 0:
                    self._lane = BlockingLane(self._open)
            return self._lane

    def close(self) -> None:
        """End the stream; calls that wait on it fail."""
        with self._lock:
            self._is_closed = True
            if self._lane is not None:
                self._lane.close()


class _Waiter:
    """A caller that waits."""

    __slots__ = ("news", "outcome")

    def __init__(self) -> None:
        self.news = threading.Event()
        self.outcome: pb.DriverCallsResponse.Outcome | None = None


class BlockingLane:
    """The calls on one stream, from any thread."""

    def __init__(self, open_stream: Callable[..., Any]) -> None:
        self.end: CallEnd | None = None
        """How the stream ended; None while it can be used."""

        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiter] = {}
        self._reading = threading.Lock()
        self._outgoing: SimpleQueue[pb.DriverCallsRequest | None] = SimpleQueue()
        self._stream = open_stream(iter(self._outgoing.get, None))

    @property
    def is_full(self) -> bool:
        """Whether it has as many calls as an exporter takes."""
        return len(self._waiting) >= LANE_CALLS

    def call(self, request: pb.DriverCallRequest) -> pb.DriverCallResponse:
        """The response to a request; raises grpc.RpcError."""
        number, waiter = next(self._numbers), _Waiter()
        self._waiting[number] = waiter
        message = pb.DriverCallsRequest()
        message.calls.add(number=number, request=request)
        self._outgoing.put(message)
        try:
            self._wait(waiter)
        finally:
            if self._waiting.pop(number, None) is not None:  # by an interrupt, or the end
                self._outgoing.put(pb.DriverCallsRequest(cancelled=[number]))
        if waiter.outcome is None:
            assert self.end is not None
            raise self.end.error()
        if waiter.outcome.HasField("failure"):
            raise rpc_error(waiter.outcome.failure)
        return waiter.outcome.response

    def _wait(self, waiter: _Waiter) -> None:
        """Until there is an outcome, or no more of them: read, or wait for who does."""
        while waiter.outcome is None and self.end is None:
            if not self._reading.acquire(blocking=False):
                waiter.news.wait()
                waiter.news.clear()
                continue
            try:
                while waiter.outcome is None and self.end is None:
                    self._read()
            finally:
                self._reading.release()
                self._pass_on()

    def _read(self) -> None:
        try:
            message = next(self._stream)
        except (grpc.RpcError, StopIteration):
            self._finish()
            return
        for outcome in message.outcomes:
            waiter = self._waiting.pop(outcome.number, None)
            if waiter is not None:
                waiter.outcome = outcome
                waiter.news.set()

    def _pass_on(self) -> None:
        """Have somebody else read, after the lock was let go: whoever did not get it then looks again."""
        for waiter in list(self._waiting.values()):
            if waiter.outcome is None:
                waiter.news.set()
                return

    def _finish(self) -> None:
        stream = self._stream
        self.end = CallEnd.of(stream.code(), stream.details(), stream.trailing_metadata())
        self._outgoing.put(None)
        for waiter in list(self._waiting.values()):
            waiter.news.set()

    def close(self) -> None:
        """End the stream, and with it the calls on it."""
        self._outgoing.put(None)
        self._stream.cancel()
