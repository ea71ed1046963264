"""A console joined with the terminal or the pipes of a command."""

import os
import select
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio import BrokenResourceError, EndOfStream

if TYPE_CHECKING:
    from jumpstarter.streams.blocking import BlockingStream

    from .client import ConsoleClient

Sink = Callable[[bytes], bool]
"""Takes what the console sends; true when that was enough."""

Source = Callable[[bytes], tuple[bytes, bool]]
"""Makes what to send of what was typed; true when the user wants to leave."""

LEAVE = b"\x02\x02\x02"


class Keys:
    """Passes keys on, and sees Ctrl-B three times in a row."""

    def __init__(self) -> None:
        self._recent = b""

    def __call__(self, typed: bytes) -> tuple[bytes, bool]:
        joined = self._recent + typed
        self._recent = joined[1 - len(LEAVE) :]
        return typed, LEAVE in joined


class Until:
    """Passes output on, up to the end of a text that may come in pieces."""

    def __init__(self, sink: Callable[[bytes], object], text: str | None) -> None:
        self._sink = sink
        self._text = text.encode() if text else None
        self._recent = b""

    def __call__(self, data: bytes) -> bool:
        if self._text is None:
            self._sink(data)
            return False
        joined = self._recent + data
        before, found, _ = joined.partition(self._text)
        self._sink((before + found)[len(self._recent) :])
        self._recent = joined[max(0, len(joined) - len(self._text) + 1) :]
        return bool(found)


@dataclass(kw_only=True)
class Attachment:
    """What a console is joined with, and for how long."""

    sink: Sink
    input_fd: int | None = None
    source: Source = lambda typed: (typed, False)
    opened: Callable[[], None] = lambda: None
    """Called when the console is open."""

    timeout: float | None = None
    """Seconds."""

    ends_with_input: bool = False

    def run(self, client: "ConsoleClient") -> bool:
        """Join until the sink, the source or the input has enough; false when the time was over before.

        Raises what breaks the console.
        """
        done, finished = socket.socketpair()
        failure: list[Exception] = []
        with done, finished:
            with client.stream() as stream:
                self.opened()
                reader = threading.Thread(target=self._receive, args=(stream, finished, failure), name="console")
                reader.start()
                in_time = self._send(stream, done)
                broken = failure.copy()  # what closing the stream makes of the reader does not count
            reader.join()
        match broken:
            case [BrokenResourceError() | EndOfStream() as e]:
                raise ConnectionError(f"console: the exporter ended the connection: {e.__cause__ or e}") from e
            case [e]:
                raise e
            case _:
                return in_time

    def _receive(self, stream: "BlockingStream", finished: socket.socket, failure: list[Exception]) -> None:
        try:
            while not self.sink(stream.receive()):
                pass
        except Exception as e:  # noqa: BLE001 raised by the thread that waits
            failure.append(e)
        finally:
            with suppress(OSError):  # the user has left already, by Ctrl-C
                finished.send(b"\0")

    def _send(self, stream: "BlockingStream", done: socket.socket) -> bool:
        """Pass the input on until something ends; false when that is the time."""
        files: list[int] = [done.fileno()] + ([] if self.input_fd is None else [self.input_fd])
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while True:
            ready, _, _ = select.select(
                files, [], [], None if deadline is None else max(0.0, deadline - time.monotonic())
            )
            if done.fileno() in ready:
                return True
            if not ready:
                return False
            typed = os.read(ready[0], 4096)
            data, leave = self.source(typed)
            if data:
                stream.send(data)
            if leave or (not typed and self.ends_with_input):
                return True
            if not typed:
                files.remove(ready[0])


def write_stdout(data: bytes) -> None:
    """Write to standard output at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextmanager
def raw_terminal(fd: int) -> Generator[None]:
    """Pass every key on as it is, meanwhile."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
