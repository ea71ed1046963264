"""Where this user's exporters keep what outlives them."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]")


def state_dir() -> Path:
    """`$XDG_STATE_HOME/jumpstarter`, by default `~/.local/state/jumpstarter`. It may not exist yet.

    Raises OSError when this user has no home.
    """
    base = Path(os.environ.get("XDG_STATE_HOME") or "")
    if not base.is_absolute():  # a relative one does not count, as the specification of these directories says
        try:
            base = Path.home() / ".local" / "state"
        except RuntimeError as e:
            raise OSError("this user has no home directory; set XDG_STATE_HOME") from e
    return base / "jumpstarter"


def make_private(path: Path) -> Path:
    """`path`, made with those above it where it is missing; nobody else can look into what is made, or into it.

    Raises OSError.
    """
    if not path.is_dir():
        if not path.parent.is_dir():
            make_private(path.parent)
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
    if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def file_name(name: str) -> str:
    """A name as part of a path: of any text, one component that is not hidden."""
    return _UNUSUAL.sub("_", name)[:100].lstrip(".") or "_"
