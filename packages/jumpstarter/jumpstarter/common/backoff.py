"""How long to wait before something is tried again."""

from __future__ import annotations

import random

GOOD_RUN = 30.0
"""Seconds after which what was tried counts as something that works, so that its next end is treated as the first."""


class Backoff:
    """Seconds between attempts: twice as many every time, and more by chance, so that many do not try at once."""

    def __init__(self, shortest: float = 0.5, longest: float = 30.0) -> None:
        self._shortest, self._longest = shortest, longest
        self._next = shortest

    def after(self, lived: float = 0.0) -> float:
        """Seconds to wait after an attempt that lasted so many."""
        if lived >= GOOD_RUN:
            self._next = self._shortest
        delay = self._next
        self._next = min(2 * self._next, self._longest)
        return min(self._longest, delay * random.uniform(1.0, 1.5))
