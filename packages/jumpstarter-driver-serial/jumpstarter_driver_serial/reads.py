"""Reading all that a descriptor has, in one go.

A tty gives at most 4 KiB to a system call, and what writes to it stops as soon as some 12 KiB wait. Calls from Python
for each of these leave gaps between them, longer than the calls themselves where other threads want to run. fread(3)
without a buffer of its own makes all of them in one call, next to which other threads run.
"""

import ctypes
import os
from functools import cache
from typing import Any

_IONBF = 2  # stdio.h


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fdopen.restype = ctypes.c_void_p
    libc.fdopen.argtypes = [ctypes.c_int, ctypes.c_char_p]
    libc.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.fread.restype = ctypes.c_size_t
    libc.fread.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    libc.clearerr.argtypes = libc.fclose.argtypes = [ctypes.c_void_p]
    return libc


class Reads:
    """Reads of a descriptor that does not block. One thread at a time."""

    def __init__(self, fd: int, most: int) -> None:
        """`most` is the most bytes of one time. The descriptor stays the caller's. Raises OSError."""
        self._libc, self._most = _libc(), most
        own = os.dup(fd)
        self._file = self._libc.fdopen(own, b"rb")
        if not self._file:
            os.close(own)
            raise OSError(ctypes.get_errno(), "fdopen")
        self._libc.setvbuf(self._file, None, _IONBF, 0)
        self._buffer = (ctypes.c_char * most)()
        self._view = memoryview(self._buffer).cast("B").toreadonly()

    def all(self) -> tuple[memoryview, int]:
        """What is there, valid until the next time; and the number of the error that ended it, 0 for none."""
        ctypes.set_errno(0)
        count = self._libc.fread(self._buffer, 1, self._most, self._file)
        if count == self._most:
            return self._view, 0
        error = ctypes.get_errno()
        self._libc.clearerr(self._file)
        return self._view[:count], error

    def close(self) -> None:
        """Close what is ours."""
        file, self._file = self._file, None
        if file:
            self._libc.fclose(file)
