"""Waiting for an assertion to hold."""

import time
from collections.abc import Callable


def eventually(fn: Callable[[], object], *, timeout: float = 5, interval: float = 0.05) -> None:
    """Call `fn` every `interval` seconds until it raises nothing; after `timeout` seconds its last error is raised."""
    end = time.monotonic() + timeout
    while True:
        try:
            fn()
        except Exception:
            if time.monotonic() >= end:
                raise
            time.sleep(interval)
        else:
            return
