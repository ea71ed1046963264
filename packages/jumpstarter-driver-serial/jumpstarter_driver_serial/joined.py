"""An attached console joined with the input and output of a command."""

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from jumpstarter.streams.portal import WAKE

from .attached import Attached
from .items import Data, Dropped, Event, Item, Refused

Source = Callable[[bytes], bool]
"""Takes what was read from the input, nothing at its end; true when the user wants to leave."""


@dataclass(kw_only=True)
class Joined:
    """What a console is joined with, and for how long."""

    show: Callable[[bytes], bool]
    """Takes what the console says; true when that was enough."""

    tell: Callable[[str], object]
    """Takes what happened beside that: a loss, dropped bytes, another writer."""

    input_fd: int | None = None
    source: Source = lambda typed: not typed
    timeout: float | None = None
    """Seconds."""

    is_lost: bool = field(default=False, init=False)
    """Whether the port is gone now."""

    refused: int = field(default=0, init=False)
    """Bytes of the input that were not written."""

    def run(self, console: Attached) -> bool:
        """Join until `show` or `source` has enough, or the console ends; false when the time was over before.

        Raises what breaks the console.
        """
        if console.beginning.lost:
            self.is_lost = True
            self.tell(console.beginning.lost)
        if console.beginning.writer:
            self.tell(f"written to by {console.beginning.writer}")
        done, finished = socket.socketpair()
        failure: list[Exception] = []
        with done, finished:
            reader = threading.Thread(target=self._read, args=(console, finished, failure), name="console", daemon=True)
            reader.start()
            in_time = self._write(done)
        if failure:
            raise failure[0]
        return in_time

    def _read(self, console: Attached, finished: socket.socket, failure: list[Exception]) -> None:
        try:
            for item in console:
                if self.take(item):
                    break
        except Exception as e:  # noqa: BLE001 raised by the thread that waits
            failure.append(e)
        finally:
            with suppress(OSError):  # the user has left already
                finished.send(b"\0")

    def take(self, item: Item) -> bool:
        """Show or tell an item; whether that was enough."""
        match item:
            case Data(data=data):
                return self.show(data)
            case Dropped(count=count):
                self.tell(f"{count} bytes are dropped: they came too long ago, or too fast")
            case Refused(count=count, text=text):
                self.refused += count
                self.tell(text)
            case Event(kind="sync"):
                return True
            case Event(kind=kind, text=text):
                self.is_lost = {"lost": True, "back": False}.get(kind, self.is_lost)
                self.tell(f"mark: {text}" if kind == "mark" else text)
        return False

    def _write(self, done: socket.socket) -> bool:
        """Pass the input on until something ends; false when that is the time."""
        files: list[int] = [done.fileno()] + ([] if self.input_fd is None else [self.input_fd])
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while True:
            left = WAKE if deadline is None else min(WAKE, max(0.0, deadline - time.monotonic()))
            ready, _, _ = select.select(files, [], [], left)
            if done.fileno() in ready:
                return True
            if not ready:
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                continue
            typed = os.read(ready[0], 64 * 1024)
            if self.source(typed):
                return True
            if not typed:
                files.remove(ready[0])


class Until:
    """Passes output on, up to the end of a text that may come in pieces."""

    def __init__(self, show: Callable[[bytes], object], text: str | None) -> None:
        self._show = show
        self._text = text.encode() if text else None
        self._recent = b""

    def __call__(self, data: bytes) -> bool:
        if self._text is None:
            self._show(data)
            return False
        joined = self._recent + data
        before, found, _ = joined.partition(self._text)
        self._show((before + found)[len(self._recent) :])
        self._recent = joined[max(0, len(joined) - len(self._text) + 1) :]
        return bool(found)
