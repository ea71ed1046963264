"""What happens in a session, as the event loop notes it for the record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

from .redaction import Parameters, Values

_monotonic = time.monotonic


class Sink(Protocol):
    """Where entries go."""

    numbers: Iterator[int]
    """Tell calls and streams apart."""
    running: dict[int, Running]
    """Those that have begun and not ended."""

    def put(self, entry: Entry | Running) -> None: ...


class Entry:
    """Something that happened, to be made a line by the thread."""

    __slots__ = ("fields", "kind", "mono")

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        self.mono = _monotonic()
        self.kind = kind
        self.fields = fields


class Running:
    """A call or stream from its begin to its end: a context, whose end says how it ended."""

    __slots__ = (
        "_sink",
        "driver",
        "error",
        "function",
        "items",
        "kind",
        "method",
        "mono",
        "number",
        "outcome",
        "received",
        "seconds",
        "sent",
        "told",
        "values",
    )

    def __init__(
        self,
        sink: Sink,
        kind: str,
        driver: str,
        method: str,
        function: Parameters | None = None,
        values: Values | None = None,
    ) -> None:
        self._sink = sink
        self.kind = kind
        self.driver = driver
        self.method = method
        self.function = function
        self.values = values
        self.items: int | None = None
        """Of a streamed call: how many items the client was sent."""
        self.received: int | None = None
        """Of a byte stream: bytes from the client."""
        self.sent: int | None = None
        """Of a byte stream: bytes to the client."""
        self.outcome: str | None = None
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.told = False
        """Whether it was written down while it went on."""
        self.number = next(sink.numbers)
        self.mono = 0.0

    def __enter__(self) -> Running:
        self.mono = _monotonic()
        self._sink.running[self.number] = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.seconds = _monotonic() - self.mono
        if kind is None:
            self.outcome = self.outcome or "ok"
        elif issubclass(kind, Exception | SystemExit | KeyboardInterrupt):
            self.outcome, self.error = "failed", error
        else:  # what ends coroutines, generators and threads from outside
            self.outcome = "cancelled"
        del self._sink.running[self.number]
        self._sink.put(self)

    def refused(self, error: BaseException) -> None:
        """It does not even begin."""
        self.mono = _monotonic()
        self.outcome, self.error = "failed", error
        self._sink.put(self)
