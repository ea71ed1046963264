"""Running a script on a console: in a thread next to the port, with nobody else writing meanwhile."""

import re
import time
from collections.abc import Callable

from jumpstarter.common.exceptions import BusyError, DeviceAbsentError

from .console import HANDOVER, Console
from .history import clock
from .items import Data, Dropped, Event
from .pen import Writer
from .script import RETURN, ScriptResult, Step, StepResult
from .since import offset_of

WINDOW = 64 * 1024
"""Bytes before a match that are kept."""

OVERLAP = 8 * 1024
"""Bytes that are looked at again when more have come: the longest match."""

SLICE = 0.1


class _Failed(Exception):
    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def check_steps(steps: list[Step]) -> None:
    """Raise ValueError for a step that does not do exactly one thing, or has a wrong expression or number."""
    for number, step in enumerate(steps, 1):
        deeds = [name for name in ("wait", "send", "line", "pause", "send_break") if getattr(step, name) is not None]
        if len(deeds) != 1:
            found = " and ".join(deeds) or "nothing"
            raise ValueError(f"step {number} has {found}; it needs one of wait, send, line, pause, send_break")
        if step.fail is not None and step.wait is None:
            raise ValueError(f"step {number}: fail goes with wait")
        for expression in (step.wait, step.fail):
            if expression is not None:
                try:
                    re.compile(expression.encode())
                except re.error as e:
                    raise ValueError(f"step {number}: {expression!r} is no regular expression: {e}") from None
        for seconds in (step.timeout, step.pause, step.send_break):
            if seconds is not None and not 0 <= seconds < 1e6:
                raise ValueError(f"step {number}: {seconds} is no number of seconds")


class Script:
    """One run of a script."""

    def __init__(
        self,
        console: Console,
        since: int | str | None,
        writer: Writer,
        *,
        is_cancelled: Callable[[], bool],
        hold_break: Callable[[float], object],
    ) -> None:
        self._console = console
        self._reader = console.history.reader(offset_of(console.history, since))
        self._writer, self._is_cancelled, self._hold_break = writer, is_cancelled, hold_break
        self._begin = clock()
        self._seen = bytearray()
        """What came after the last match."""
        self._seen_from = self._reader.offset
        self._results: list[StepResult] = []

    def run(self, steps: list[Step], *, take: bool) -> ScriptResult:
        """Do the steps in turn, up to one that fails."""
        failure = None
        try:
            self._claim(steps, take)
            for number, step in enumerate(steps, 1):
                self._do(step, f"step {number} of {len(steps)}")
        except _Failed as e:
            failure = e
        finally:
            self._console.pen.give_back(self._writer)
        return ScriptResult(
            ok=failure is None,
            failure=str(failure or ""),
            kind=failure.kind if failure is not None else "",
            steps=self._results,
            rest=_shown(self._seen[-WINDOW:]),
        )

    def _claim(self, steps: list[Step], take: bool) -> None:
        if all(step.wait is not None or step.pause is not None for step in steps):
            return
        pen = self._console.pen
        if not pen.try_claim(self._writer, take=take):
            pen.changes.wait_for(lambda: pen.holder is None, HANDOVER)
            if not pen.try_claim(self._writer):
                raise _Failed("busy", str(pen.busy()))

    def _do(self, step: Step, name: str) -> None:
        start = time.monotonic()
        before, match, groups = "", "", list[str | None]()
        if step.wait is not None:
            did = "wait"
            before, found = self._wait(step, name)
            match, groups = _shown(found[0]), [None if group is None else _shown(group) for group in found.groups()]
        elif step.pause is not None:
            did = "pause"
            self._pause(step.pause)
        elif step.send_break is not None:
            did = "break"
            self._hold_break(step.send_break)
        else:
            did = "send"
            self._send((step.send if step.send is not None else f"{step.line}{RETURN}").encode(), step.timeout, name)
        self._results.append(
            StepResult(
                did=did,
                seconds=time.monotonic() - start,
                time=clock(),
                offset=self._seen_from,
                before=before,
                match=match,
                groups=groups,
            )
        )

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._is_cancelled():
            time.sleep(min(left, SLICE))

    def _send(self, data: bytes, timeout: float, name: str) -> None:
        deadline = time.monotonic() + timeout + self._console.seconds_for(len(data))
        try:
            taken = self._console.write(
                self._writer, data, is_wanted=lambda: not self._is_cancelled() and time.monotonic() < deadline
            )
        except DeviceAbsentError as e:
            raise _Failed("lost", f"{name}: {e}") from None
        except BusyError as e:
            raise _Failed("busy", f"{name}: {e}") from None
        if not taken:
            raise _Failed("timeout", f"{name}: the device does not take what is sent, for {timeout:g} s")

    def _wait(self, step: Step, name: str) -> tuple[str, re.Match[bytes]]:
        wanted = re.compile((step.wait or "").encode())
        bad = re.compile(step.fail.encode()) if step.fail is not None else None
        deadline = time.monotonic() + step.timeout
        looked = 0
        while True:
            begin = max(0, looked - OVERLAP)
            found = wanted.search(self._seen, begin)
            failed = bad.search(self._seen, begin) if bad is not None else None
            if failed is not None and (found is None or failed.start() < found.start()):
                raise _Failed("failed", f"{name}: {_shown(failed[0])!r} came while waiting for {step.wait!r}")
            if found is not None:
                return self._matched(found), found
            looked = len(self._seen)
            if looked > 2 * WINDOW:
                self._forget(looked - WINDOW)
                looked = WINDOW
            left = deadline - time.monotonic()
            if left <= 0 or self._is_cancelled():
                end = _shown(self._seen[-200:])
                came = f"the last that came is {end!r}" if end else "nothing came"
                raise _Failed("timeout", f"{name}: no {step.wait!r} within {step.timeout:g} s; {came}")
            self._more(min(left, SLICE), name)

    def _matched(self, found: re.Match[bytes]) -> str:
        before = _shown(self._seen[max(0, found.start() - WINDOW) : found.start()])
        self._forget(found.end())
        return before

    def _forget(self, count: int) -> None:
        self._seen = self._seen[count:]  # a new one: matches still refer to the old
        self._seen_from += count

    def _more(self, seconds: float, name: str) -> None:
        match self._reader.wait(seconds):
            case Data(data=data):
                self._seen += data
            case Dropped(count=count):
                raise _Failed("lost", f"{name}: {count} bytes came too fast to be looked at")
            case Event(kind="lost", text=text, time=moment) if self._console.policy.kind == "fail":
                if moment >= self._begin:
                    raise _Failed("lost", f"{name}: console {self._console.where} {text}")
            case _:
                self._check_loss(name)

    def _check_loss(self, name: str) -> None:
        loss, policy = self._console.keeper.loss, self._console.policy
        if loss is None or policy.kind == "mark" or self._reader.has_news():
            return
        if policy.kind == "fail" or clock() > loss.time + policy.seconds:
            raise _Failed("lost", f"{name}: console {self._console.where} {loss}")


def _shown(data: bytes | bytearray) -> str:
    return bytes(data).decode(errors="backslashreplace")
