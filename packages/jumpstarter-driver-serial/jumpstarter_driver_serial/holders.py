"""Who has a device open, as far as this user may see."""

import os
from contextlib import suppress
from pathlib import Path


def holders_of(path: str) -> str:
    """` by minicom (process 1234)`, as the end of a sentence; nothing where it cannot be told."""
    try:
        device = os.stat(path).st_rdev  # noqa: PTH116
    except OSError:
        return ""
    found = [f"{_name(pid)} (process {pid})" for pid in _processes() if _has_open(pid, device)]
    return f" by {', '.join(found)}" if found else ""


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


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
