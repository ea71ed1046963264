"""The worker of one driver instance: its calls run one at a time, in order, the urgent ones first.

Plain functions run in a thread of the worker's own, coroutines on the event loop; both wait for the same turn. A
function cannot be stopped: when its caller has gone it keeps the turn until it ends, and when it does not end, the
worker says so and refuses further calls instead of letting them wait for ever. The same goes for a coroutine that takes
no notice of being cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from ..common.exceptions import DriverStuckError, LimitError
from ..common.limits import DRIVER_QUEUE, MAX_STREAMS, QUEUE_PATIENCE, STUCK
from ..driver.calls import Call, CallCancelled, running
from .threads import Job, JobThread, told

logger = logging.getLogger(__name__)

T = TypeVar("T")


@coroutine
def _noticing(
    awaited: Coroutine[Any, Any, T], cancelled: Callable[[Call], object], call: Call
) -> Generator[Any, Any, T]:
    """Await a coroutine, and call a function when it is cancelled, even if it takes no notice."""
    steps = awaited.__await__()
    step: Callable[[Any], Any] = steps.send
    given: Any = None
    try:
        while True:
            try:
                waits_for = step(given)
            except StopIteration as e:
                return e.value
            try:
                given, step = (yield waits_for), steps.send
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as e:  # noqa: BLE001 raised where the coroutine waits
                if isinstance(e, asyncio.CancelledError):
                    cancelled(call)
                given, step = e, steps.throw
    finally:
        given = None  # or the error would keep itself, by its traceback


class Worker:
    """Runs the calls of one driver. To be used on one event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._current: Call | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._outside: deque[asyncio.Future[None]] = deque()
        """Who waits for a place among those that wait."""
        self._next_call: dict[asyncio.Future[None], Call] = {}
        self._idle: list[JobThread] = []
        self._busy: dict[Call, JobThread] = {}
        self._closed = False
        self._settlers: list[asyncio.Future[None]] = []
        self.stuck: str | None = None
        """Why no further calls are taken, where a method does not end."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs."""
        return self._current is None and not self._busy

    # turns

    async def take(self, call: Call, urgent: bool = False) -> None:
        """Wait until it is the turn of the call, which keeps it until `give`."""
        while self.stuck is None and not urgent and len(self._waiting) >= DRIVER_QUEUE:
            await self._place()
        if self.stuck is not None:
            raise self._refusal(self.stuck)
        if self._current is None:
            self._current = call
            return
        turn = asyncio.get_running_loop().create_future()
        queue = self._urgent if urgent else self._waiting
        queue.append(turn)
        self._next_call[turn] = call
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give(call)  # it came at the same moment
            elif turn in queue:
                queue.remove(turn)
            raise
        finally:
            self._next_call.pop(turn, None)

    async def _place(self) -> None:
        """Wait until there is a place in the queue; LimitError where none gets free for a while."""
        place = asyncio.get_running_loop().create_future()
        try:
            if len(self._outside) < MAX_STREAMS:
                self._outside.append(place)
                await asyncio.wait_for(place, QUEUE_PATIENCE)
                return
        except TimeoutError:
            pass
        finally:
            if place in self._outside:
                self._outside.remove(place)
        raise LimitError(f"{len(self._waiting)} calls of this driver wait already (limit DRIVER_QUEUE)")

    def _let_in(self) -> None:
        """Tell who waits first for a place that there is one."""
        while self._outside:
            place = self._outside.popleft()
            if not place.done():
                place.set_result(None)
                return

    def give(self, call: Call) -> None:
        """Give the turn to the next call."""
        if self._current is not call:
            return
        self._current = None
        self._let_in()
        if self.stuck is not None:
            logger.warning("driver %s: %s has ended after all", self._name, call.method)
            self.stuck = None
        for queue in (self._urgent, self._waiting):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    self._current = self._next_call[turn]
                    turn.set_result(None)
                    return
        self._tell_settlers()

    def _tell_settlers(self) -> None:
        if self.is_idle:
            settlers, self._settlers = self._settlers, []
            for settled in settlers:
                if not settled.done():
                    settled.set_result(None)

    def _refusal(self, why: str) -> DriverStuckError:
        return DriverStuckError(
            f"driver {self._name} takes no calls: {why}", "look at its device, or restart the exporter"
        )

    # calls

    async def run(
        self,
        call: Call,
        function: Callable[[], T],
        *,
        concurrent: bool = False,
        urgent: bool = False,
        abandoned: Callable[[], Any] | None = None,
    ) -> T:
        """Run a plain function in a thread and return its result, or raise what it raised.

        When the caller is cancelled, as gRPC does once its client is gone, a function that waits never starts; one that
        runs is told by its call, keeps the turn until it ends, and is followed by `abandoned`. Raises LimitError when
        too many wait, and DriverStuckError while an earlier one does not end; an urgent one then runs beside it.
        """
        in_turn = await self._enter(call, concurrent, urgent)
        if not in_turn and len(self._busy) >= (2 if urgent else 1) * DRIVER_QUEUE:
            raise LimitError(f"{len(self._busy)} calls of this driver run already (limit DRIVER_QUEUE)")
        value, error = await self._start(call, function, in_turn, abandoned)
        if error is not None:
            raise told(error)
        return value

    async def outcome(self, call: Call, function: Callable[[], T]) -> tuple[T, BaseException | None]:
        """As `run`, for a call whose turn it is and that has a task of its own.

        That must not raise SystemExit: the event loop would end with it.
        """
        return await self._start(call, function, True, None)

    async def finish(self, call: Call, function: Callable[[], object]) -> None:
        """As `run`, for what ends a call whose caller may be gone: ahead of others, and not cancelled itself."""
        in_turn = await self._enter(call, False, True)
        overdue = asyncio.get_running_loop().call_later(STUCK, self._check, call)
        try:
            _, error = await self._start(call, function, in_turn, None)
        finally:
            overdue.cancel()
        if error is not None:
            raise told(error)

    async def _enter(self, call: Call, concurrent: bool, urgent: bool) -> bool:
        """Wait until a call may begin; whether it has the turn then, and does not run beside who has it."""
        if concurrent:
            return False
        try:
            await self.take(call, urgent)
        except DriverStuckError:
            if urgent:
                return False
            raise
        return True

    async def _start(
        self, call: Call, function: Callable[[], T], in_turn: bool, abandoned: Callable[[], Any] | None
    ) -> tuple[T, BaseException | None]:
        """What a function returns or raises, in a thread that is free."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[tuple[T, BaseException | None]] = loop.create_future()

        def done(value: T, error: BaseException | None) -> None:
            self._returned(call, in_turn)
            if not result.done():
                result.set_result((value, error))
            elif error is not None and not isinstance(error, CallCancelled):
                logger.warning("driver %s: %s failed after its caller was gone: %s", self._name, call.method, error)

        thread = self._idle.pop() if self._idle else JobThread(f"worker of {self._name}")
        self._busy[call] = thread
        thread.jobs.put(Job(call, function, abandoned, done, loop))
        try:
            return await result
        except asyncio.CancelledError:
            self._cancelled(call)
            raise

    async def run_async(
        self,
        call: Call,
        function: Callable[[], Coroutine[Any, Any, T]],
        *,
        concurrent: bool = False,
        urgent: bool = False,
    ) -> T:
        """Run a coroutine function on the event loop; a cancelled caller cancels it. Raises as `run` does."""
        running.set(call)
        if not await self._enter(call, concurrent, urgent):
            return await function()
        try:
            return await _noticing(function(), self._cancelled, call)
        finally:
            self.give(call)

    def _cancelled(self, call: Call) -> None:
        """Tell a call that runs that its caller is gone, and look after a while whether it has ended."""
        call.cancel()
        asyncio.get_running_loop().call_later(STUCK, self._check, call)

    def _returned(self, call: Call, in_turn: bool) -> None:
        """A thread is free again."""
        thread = self._busy.pop(call)
        if self._closed or thread.has_failed:
            thread.jobs.put(None)
        else:
            self._idle.append(thread)
        if in_turn:
            self.give(call)
        else:
            self._tell_settlers()

    def _check(self, call: Call) -> None:
        """Say that a method runs on although nobody waits for it, and refuse those that would wait for it."""
        thread = self._busy.get(call)
        if thread is None and self._current is not call:
            return
        logger.error(
            "driver %s: %s does not end, %.0f s after its caller was gone%s",
            self._name,
            call.method,
            STUCK,
            f"; it is at:\n{thread.stack()}" if thread is not None else "; it takes no notice of being cancelled",
        )
        self.overtake(call, f"an earlier call of {call.method} does not end")

    def overtake(self, call: Call, why: str) -> None:
        """Let urgent calls go beside one that has the turn, and refuse all others until that one ends."""
        if self._current is not call:
            return
        self.stuck = why
        self._refuse(why)

    def _refuse(self, why: str) -> None:
        """Let those that wait for their turn wait no longer."""
        for turn in [*self._urgent, *self._waiting]:
            if not turn.done():
                turn.set_exception(self._refusal(why))
        self._urgent.clear()
        self._waiting.clear()

    # the end

    async def settle(self) -> None:
        """Wait until nothing runs or waits."""
        while not self.is_idle:
            settled = asyncio.get_running_loop().create_future()
            self._settlers.append(settled)
            await settled

    def close(self) -> None:
        """Let the threads end, those that are busy after what they do."""
        self._closed = True
        self._refuse("the exporter stops")
        while self._idle:
            self._idle.pop().jobs.put(None)
