"""How a client's user sees a transfer: one line that changes on a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from .common import Progress, Stage, size_text

EVERY = 5.0
"""Seconds between two lines of a stage where the output is no terminal."""

QUIET = 2.0
"""Seconds of a transfer that need no lines."""

_DOING = {
    Stage.IDLE: "waiting",
    Stage.PREPARE: "preparing",
    Stage.WRITE: "writing",
    Stage.FLUSH: "flushing",
    Stage.VERIFY: "reading back",
    Stage.READ: "reading",
}


def text_of(progress: Progress) -> str:
    """Stage, bytes, rate and time to go."""
    parts = [_DOING[progress.stage]]
    if progress.done or progress.total:
        parts.append(size_text(progress.done))
        if progress.total:
            parts[-1] += f" of {size_text(progress.total)} ({100 * progress.done / progress.total:.0f} %)"
    if progress.rate > 0:
        parts.append(f"{size_text(progress.rate)}/s")
    if progress.eta is not None and progress.eta >= 1:
        parts.append(f"{int(progress.eta // 60)}:{int(progress.eta % 60):02} to go")
    return ", ".join(parts)


class ProgressLine:
    """Shows how far a transfer is, on stderr. Used as a context, which leaves the line clean."""

    def __init__(self, output: TextIO | None = None, quiet: float = QUIET) -> None:
        """`quiet` are the seconds of a transfer of which nothing is said where the output is no terminal."""
        self._output = output or sys.stderr
        self._is_terminal = self._output.isatty()
        self._shown = ""
        self._stage: Stage | None = None
        self._last = 0.0
        self._quiet_until = time.monotonic() + quiet

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._shown:
            self._output.write(f"\r{' ' * len(self._shown)}\r")
            self._output.flush()

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        if self._is_terminal:
            text = text_of(progress)[: shutil.get_terminal_size().columns - 1]
            self._output.write(f"\r{text:<{len(self._shown)}}")
            self._shown = text
        elif time.monotonic() < self._quiet_until:
            return
        elif progress.stage != self._stage or time.monotonic() - self._last >= EVERY:
            self._stage, self._last = progress.stage, time.monotonic()
            self._output.write(f"{text_of(progress)}\n")
        self._output.flush()
