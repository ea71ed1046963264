"""The call that is running, for a plain method that has to know when nobody waits for it any more.

A coroutine is cancelled when its client goes or its deadline passes. A plain function cannot be interrupted: it looks
at `is_cancelled()` between its steps, or lets `check_cancelled()` and `sleep()` end it there.
"""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar


class CallCancelled(BaseException):
    """Ends a plain method whose caller is gone; not an Exception, so that nothing takes it for a failure to retry."""


class Call:
    """One call of an exported method, from its arrival to its end."""

    __slots__ = ("_event", "cancelled", "driver", "method")

    def __init__(self, driver: object, method: str) -> None:
        self.driver = driver
        self.method = method
        self.cancelled = False
        self._event: threading.Event | None = None

    def cancel(self) -> None:
        """Tell the method that nobody waits for it any more; from any thread."""
        self.cancelled = True
        if self._event is not None:
            self._event.set()

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the call is cancelled."""
        if self._event is None:
            self._event = threading.Event()
        if not self.cancelled:  # looked at after the event was there to be set
            self._event.wait(seconds)


running: ContextVar[Call | None] = ContextVar("running", default=None)
"""The call on whose behalf code runs; None outside of calls."""


def is_cancelled() -> bool:
    """Whether the call that is running was cancelled: its client is gone, or its time is over."""
    call = running.get()
    return call is not None and call.cancelled


def check_cancelled() -> None:
    """Raise CallCancelled if the call that is running was cancelled."""
    if is_cancelled():
        raise CallCancelled


def sleep(seconds: float) -> None:
    """Sleep in a plain method; raises CallCancelled as soon as the call is cancelled."""
    call = running.get()
    if call is None:
        time.sleep(seconds)
        return
    call.sleep(seconds)
    check_cancelled()
