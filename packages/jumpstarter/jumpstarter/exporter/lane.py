"""Many calls on one stream, as clients of ours make them; each runs as a call of its own would."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.exceptions import LimitError
from ..common.limits import BATCH_BYTES, MAX_MESSAGE, MAX_STREAMS
from .errors import DRIVER_FAILURES, Failure

logger = logging.getLogger(__name__)

OVERHEAD = 64
"""More bytes than a message takes beside the outcome in it."""

LEAST = MAX_MESSAGE // MAX_STREAMS
"""Bytes that an outcome counts for at least, among those that a client does not read."""

Answer = Callable[[pb.DriverCallRequest, pb.DriverCallResponse, Any], Awaitable[None]]
"""Makes a call and puts its result into the response."""

Explain = Callable[[pb.DriverCallRequest, BaseException, Any], Failure]
"""What a client is told of a call that failed."""


class Lane:
    """Serves one such stream."""

    def __init__(self, answer: Answer, explain: Explain, context: Any) -> None:
        self._answer = answer
        self._explain = explain
        self._context = context
        self._running: dict[int, asyncio.Task[None]] = {}
        self._ended: deque[pb.DriverCallsResponse.Outcome] = deque()
        self._unread = 0
        """Bytes of outcomes that wait until the client reads."""
        self._read = asyncio.Event()
        self._is_writing = False

    async def serve(self) -> None:
        """Make the calls that the client sends until it sends no more and all have ended, or it is gone.

        No further ones are taken from a client while many outcomes wait because it does not read.
        """
        async with asyncio.TaskGroup() as tasks:
            if (refusal := await self._take_all(tasks)) is not None:
                for task in self._running.values():
                    task.cancel()
        if refusal is not None:
            await self._context.abort(*refusal)

    async def _take_all(self, tasks: asyncio.TaskGroup) -> tuple[grpc.StatusCode, str] | None:
        """Begin the calls that come; why no further ones are taken, where the client does what none may do."""
        while (message := await self._context.read()) is not grpc.aio.EOF:
            if isinstance(message, DecodeError):
                return grpc.StatusCode.INVALID_ARGUMENT, f"the request is malformed: {message}"
            if (count := len(message.calls)) > MAX_STREAMS:
                text = f"{count} calls in one message, of at most {MAX_STREAMS} (limit MAX_STREAMS)"
                return grpc.StatusCode.RESOURCE_EXHAUSTED, text
            self._take(message, tasks)
            while self._unread > MAX_MESSAGE:
                self._read.clear()
                await self._read.wait()
        return None

    def _take(self, message: pb.DriverCallsRequest, tasks: asyncio.TaskGroup) -> None:
        for call in message.calls:
            if call.number not in self._running:
                self._running[call.number] = tasks.create_task(self._run(call))
        for number in message.cancelled:
            if (task := self._running.pop(number, None)) is not None:  # here: one that has not begun never will
                task.cancel()

    async def _run(self, call: pb.DriverCallsRequest.Call) -> None:
        outcome = pb.DriverCallsResponse.Outcome(number=call.number)
        try:
            try:
                if len(self._running) > MAX_STREAMS:
                    raise LimitError(f"{MAX_STREAMS} calls of one client run already (limit MAX_STREAMS)")
                await self._answer(call.request, outcome.response, self._context)
            except DRIVER_FAILURES as e:
                outcome.failure.CopyFrom(self._explain(call.request, e, self._context).message())
                outcome.ClearField("response")
            if outcome.ByteSize() > MAX_MESSAGE - OVERHEAD:
                outcome.failure.CopyFrom(_too_large(outcome))
                outcome.ClearField("response")
        finally:
            if self._running.get(call.number) is asyncio.current_task():
                del self._running[call.number]
        self._ended.append(outcome)
        self._unread += max(LEAST, outcome.ByteSize())
        if not self._is_writing:
            await self._write()

    async def _write(self) -> None:
        """Tell the client what has ended, those together that end at the same moment."""
        self._is_writing = True
        try:
            if self._running:
                await asyncio.sleep(0)
            while self._ended:
                message, size, cost = pb.DriverCallsResponse(), 0, 0
                while self._ended and (not size or size + self._ended[0].ByteSize() < BATCH_BYTES):
                    outcome = self._ended.popleft()
                    size += outcome.ByteSize()
                    cost += max(LEAST, outcome.ByteSize())
                    message.outcomes.append(outcome)
                try:
                    await self._context.write(message)
                except Exception:  # the client is gone, and gRPC cancels this call
                    logger.debug("outcomes of calls reach nobody", exc_info=True)
                    return
                self._unread -= cost
                self._read.set()
        finally:
            self._is_writing = False


def _too_large(outcome: pb.DriverCallsResponse.Outcome) -> pb.CallFailure:
    """What gRPC says of a response that is larger than a message may be."""
    text = f"Sent message larger than max ({outcome.response.ByteSize()} vs. {MAX_MESSAGE})"
    return pb.CallFailure(status=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], text=text)
