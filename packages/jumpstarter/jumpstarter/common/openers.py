"""Who has a device open, as far as this user may see."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def openers(path: str | Path, *, but: int = 0) -> str:
    """The programs that have the device at a path open, such as `minicom (process 1234)`.

    `another program` where it cannot be told. The process `but` does not count.
    """
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return "another program"
    if not stat.S_ISCHR(found.st_mode) and not stat.S_ISBLK(found.st_mode):
        return "another program"
    programs = [f"{_name(pid)} (process {pid})" for pid in _processes() if pid != but and _has_open(pid, found.st_rdev)]
    return ", ".join(programs) or "another program"


def _processes() -> list[int]:
    with suppress(FileNotFoundError):  # not Linux
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return []


def _has_open(pid: int, device: int) -> bool:
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as files:
        for file in files:
            with suppress(OSError):
                if file.is_symlink() and file.stat().st_rdev == device:
                    return True
    return False


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "a program"
