"""What a running process holds and has started (Linux). What goes while one looks is left out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def open_files(pid: int) -> list[str]:
    """What a process has open: paths, and `socket:[…]` and the like for what has none."""
    found: list[str] = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(entry.readlink()))
    return found


def children(pid: int) -> list[int]:
    """The processes that a process started and has not waited for; none of one that is gone."""
    found: list[int] = []
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def family(pid: int) -> list[int]:
    """A process and those that it and they started, the youngest first."""
    return [*(one for child in children(pid) for one in family(child)), pid]
