"""Memory for byte streams, which allocate and free a frame of up to a megabyte at a time.

glibc gives freed memory of that size back to the system at once and faults it in again for the next frame, which halves
the rate of a stream. Here it is told to keep some megabytes instead (mallopt(3)).
"""

from __future__ import annotations

import os
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h

KEEP_BYTES = 16 << 20
"""Most freed bytes that stay with the process."""

MMAP_BYTES = 8 << 20
"""Size from which an allocation is a mapping of its own; more than any frame."""


@cache
def keep_freed_memory() -> bool:
    """Keep freed memory for the next frame, from the first call on; returns whether that is possible here.

    Does nothing where the user has set limits of malloc, or the C library is another one.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEEP_BYTES) and mallopt(_MMAP_THRESHOLD, MMAP_BYTES))
