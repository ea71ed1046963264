"""What a console says and what happens to it, line by line, for the record of the session."""

import re
import threading
import time
from collections.abc import Callable

from .history import History
from .items import Data, Dropped, Event

MAX_LINE = 1000
"""Bytes of a line; longer ones become several."""

PROMPT = 0.5
"""Seconds after which a line without an end is noted: a prompt."""

BATCH = 0.05
"""Seconds in which output gathers."""

LINES_PER_SECOND, BURST = 50.0, 1000.0
"""What a record gets at most; it has other things to tell, and the log of the console has everything."""

_PART = re.compile(rb"[^\r\n]{0,%d}[\r\n]?" % MAX_LINE)


class Notes:
    """A thread that notes the lines of a history, as one more of its readers."""

    def __init__(self, history: History, note: Callable[..., object]) -> None:
        """`note` is called with `text` and `offset` of lines, and with `event` where something happened."""
        self._history, self._note = history, note
        self._reader = history.reader(history.end)
        self._line, self._offset = bytearray(), 0
        self._left, self._filled = BURST, time.monotonic()
        self._skipped = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console notes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Note what is there, and end."""
        self._stop.set()
        self._history.changes.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            match self._reader.take():
                case Data(offset=offset, data=data):
                    self._take(offset, data)
                case Event(kind=kind, text=text, offset=offset):
                    self._end_line()
                    self._note(event=kind, text=text, offset=offset)
                case Dropped(count=count):
                    self._skipped += count
                case _ if self._stop.is_set():
                    self._end_line()
                    return
                case _:
                    self._wait()

    def _wait(self) -> None:
        changes, stop = self._history.changes, self._stop
        came = changes.wait_for(lambda: stop.is_set() or self._reader.has_news(), PROMPT if self._line else None)
        if not came:
            self._end_line()
        stop.wait(BATCH)

    def _take(self, offset: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            if not self._line and not self._may_note():
                end = _end_of_lines(data, at)
                self._skipped += end - at
                at = end
            part = _PART.match(data, at)
            assert part is not None, "it matches anything"
            if not self._line:
                self._offset = offset + at
            self._line += part[0]
            at = part.end()
            if part[0].endswith((b"\n", b"\r")) or len(self._line) >= MAX_LINE:
                self._end_line()

    def _may_note(self) -> bool:
        """Whether there is room for one more line now."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._filled) * LINES_PER_SECOND)
        self._filled = now
        return self._left >= 1

    def _end_line(self) -> None:
        line, self._line = bytes(self._line), bytearray()
        said = line.rstrip(b"\r\n")
        if not said:
            return
        if not self._may_note():
            self._skipped += len(line)
            return
        self._left -= 1
        if self._skipped:
            self._note(
                event="skipped", text=f"{self._skipped} bytes, which the log of the console has", offset=self._offset
            )
            self._skipped = 0
        self._note(text=said.decode(errors="backslashreplace"), offset=self._offset)


def _end_of_lines(data: bytes, begin: int) -> int:
    """Where the last whole line ends; of one that is too long and goes on, the last whole part."""
    end = max(data.rfind(b"\n", begin), data.rfind(b"\r", begin)) + 1
    return end or len(data) - (len(data) - begin) % MAX_LINE
