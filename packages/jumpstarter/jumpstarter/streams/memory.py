"""Memory for byte streams, which allocate and free a frame of up to a megabyte at a time.

glibc gives freed memory of that size back to the system at once and faults it in again for the next frame, which halves
the rate of a stream. And it keeps an arena for each of gRPC's many threads, whose free end nothing gives back. Here it
is told to keep some megabytes in one arena instead (mallopt(3)), and to give them back after a large transfer.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h

KEEP_BYTES = 16 << 20
"""Most freed bytes that stay with the process."""

MMAP_BYTES = 8 << 20
"""Size from which an allocation is a mapping of its own; more than any frame."""


@cache
def keep_freed_memory() -> bool:
    """Keep freed memory for the next frame, from the first call on; returns whether that is possible here.

    Threads that have allocated before keep the arenas that they have. Does nothing where the user has set limits of
    malloc, or the C library is another one.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    mallopt(_ARENA_MAX, 1)
    return bool(mallopt(_TRIM_THRESHOLD, KEEP_BYTES) and mallopt(_MMAP_THRESHOLD, MMAP_BYTES))


def release_freed_memory() -> None:
    """Give back what was kept; for after a large transfer. It takes a millisecond or two."""
    trim = _function("malloc_trim") if keep_freed_memory() else None
    if trim is not None:
        trim(0)


def _function(name: str) -> Any:
    """A function of the C library; None where it has none of that name."""
    import ctypes

    return getattr(ctypes.CDLL(None), name, None)
