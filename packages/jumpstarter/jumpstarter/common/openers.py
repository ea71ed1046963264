"""Who has a device, or something on a file system, open, as far as this user may see."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_UNKNOWN = "another program"


def openers(path: str | Path, *, but: int = 0) -> str:
    """The programs that have the device at a path open, such as `minicom (process 1234)`.

    `another program` where it cannot be told. The process `but` does not count.
    """
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return _UNKNOWN
    if not stat.S_ISCHR(found.st_mode) and not stat.S_ISBLK(found.st_mode):
        return _UNKNOWN
    return _programs(lambda pid: pid != but and _has_open(pid, lambda file: file.st_rdev == found.st_rdev))


def occupants(folder: str | Path) -> str:
    """The programs that are in, or have something open of, the file system that is mounted on a folder."""
    try:
        device = os.stat(folder).st_dev  # noqa: PTH116
    except OSError:
        return _UNKNOWN

    def is_there(pid: int) -> bool:
        return _works_in(pid, device) or _has_open(pid, lambda file: file.st_dev == device)

    return _programs(is_there)


def _programs(matches: Callable[[int], bool]) -> str:
    return ", ".join(f"{_name(pid)} (process {pid})" for pid in _processes() if matches(pid)) or _UNKNOWN


def _processes() -> list[int]:
    with suppress(FileNotFoundError):  # not Linux
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return []


def _works_in(pid: int, device: int) -> bool:
    with suppress(OSError):
        return os.stat(f"/proc/{pid}/cwd").st_dev == device  # noqa: PTH116
    return False


def _has_open(pid: int, is_it: Callable[[os.stat_result], bool]) -> bool:
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as files:
        for file in files:
            with suppress(OSError):
                if file.is_symlink() and is_it(file.stat()):
                    return True
    return False


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "a program"
