"""Waiting in tests for what happens elsewhere."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], what: str = "", timeout: float = 20.0) -> T:
    """The first true result of `condition`, asked again and again; TimeoutError after so many seconds."""
    end = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what or 'not what was waited for'} within {timeout:g} s: {result!r}")
        time.sleep(0.01)
    return result
