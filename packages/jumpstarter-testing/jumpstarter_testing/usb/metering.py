"""The meter of the DUTLink: samples of 10 ms, averaged over 2 s, with the steps of its 12-bit converters."""

import time

VOLTS_STEP = 3.3 / 4096 * (2400 + 470) / 470
VOLTS_MOST = VOLTS_STEP * 4095
AMPS_STEP = 3.3 / 4096 / 0.264


class Meter:
    """What is measured when the load changes at once and the average follows it."""

    def __init__(self, window: float = 2.0) -> None:
        self.window = window
        """Seconds that are averaged."""
        self._changes: list[tuple[float, float, float]] = [(float("-inf"), 0.0, 0.0)]
        """Since when which volts and amperes were there."""

    def set(self, volts: float, amps: float) -> None:
        """From now on, this is there."""
        self._changes.append((time.monotonic(), min(max(volts, 0.0), VOLTS_MOST), amps))

    def read(self) -> tuple[float, float]:
        """Volts and amperes, averaged."""
        now = time.monotonic()
        begin, volts, amps = now - self.window, 0.0, 0.0
        for index, (since, v, a) in enumerate(self._changes):
            until = self._changes[index + 1][0] if index + 1 < len(self._changes) else now
            part = max(0.0, min(until, now) - max(since, begin)) / self.window if self.window else 0.0
            volts, amps = volts + v * part, amps + a * part
        if not self.window:
            _, volts, amps = self._changes[-1]
        return round(volts / VOLTS_STEP) * VOLTS_STEP, round(amps / AMPS_STEP) * AMPS_STEP
