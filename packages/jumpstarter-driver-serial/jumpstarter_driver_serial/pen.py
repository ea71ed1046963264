"""The right to write to a console, which one has at a time; whoever wants it from them has to say so."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from jumpstarter.common.changes import Changes
from jumpstarter.common.exceptions import BusyError

from .history import clock
from .keeper import at


@dataclass(eq=False)
class Writer:
    """Somebody who writes, or did."""

    name: str
    since: float = field(default_factory=clock)
    """Seconds since the epoch."""

    taken_by: str | None = None
    """Who has taken the pen from them."""

    def __str__(self) -> str:
        return f"{self.name} since {at(self.since)}"


class Pen:
    """Has one holder at most. May be used from any thread."""

    def __init__(self, where: str, tell: Callable[[str], object]) -> None:
        """`tell` is called with what happened, for the readers."""
        self._where, self._tell = where, tell
        self._lock = threading.Lock()
        self.holder: Writer | None = None
        self.changes = Changes()

    def try_claim(self, writer: Writer, *, take: bool = False) -> bool:
        """Give the pen to a writer, with `take` also when somebody else has it; whether they have it now."""
        with self._lock:
            before = self.holder
            if before is writer:
                return True
            if before is not None and not take:
                return False
            writer.taken_by = None
            self.holder = writer
            if before is not None:
                before.taken_by = writer.name
        if before is not None:
            self._tell(f"{writer.name} writes now, taken from {before.name}")
            self.changes.notify()
        return True

    def check(self, writer: Writer) -> None:
        """Raise BusyError unless the writer has the pen."""
        if self.holder is not writer:
            raise self.busy()

    def busy(self) -> BusyError:
        """What somebody is told who may not write now."""
        return BusyError(f"console {self._where} is written to by {self.holder}", "read along, or take over (--take)")

    def give_back(self, writer: Writer) -> None:
        """Let the pen go, if the writer has it."""
        with self._lock:
            if self.holder is not writer:
                return
            self.holder = None
        self.changes.notify()
