"""A mark on disk for as long as a session is not handed back, so that what a killed exporter left is made good."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

from ..common.state import file_name, make_private, state_dir

logger = logging.getLogger(__name__)


class Marker:
    """The mark of one exporter, known by its name and configuration file.

    Each process has a file of its own, which it locks: a file that nobody locks is of a process that was killed.
    Exporters without a configuration leave no mark.
    """

    def __init__(self, name: str, config: str) -> None:
        self._key = ""
        if config:
            digest = crc32(os.fsencode(Path(config).absolute()))
            self._key = f"{file_name(name)}-{digest:08x}"
        self._held: tuple[int, Path] | None = None

    def begin(self) -> None:
        """Leave the mark: from now on devices may be in use."""
        if not self._key or self._held is not None:
            return
        fd = -1
        try:
            path = make_private(_directory()) / f"{self._key}.{os.getpid()}"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if fd >= 0:
                os.close(fd)
            logger.warning("a kill of this exporter will go unnoticed: %s", e)
            return
        self._held = fd, path

    def end(self) -> None:
        """Take the mark away: all is handed back."""
        if self._held is not None:
            fd, path = self._held
            self._held = None
            _remove(path)
            os.close(fd)

    def is_left(self) -> bool:
        """Whether an exporter was killed, or could not hand back a device."""
        with _left(self._key) as left:
            return bool(left)

    def clear(self) -> None:
        """Forget them: all is made good."""
        with _left(self._key) as left:
            for path in left:
                _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as e:  # the next start hands the devices back once more, which does no harm
        logger.warning("a mark of this exporter stays: %s", e)


def _directory() -> Path:
    return state_dir() / "unfinished"


@contextmanager
def _left(key: str) -> Generator[list[Path]]:
    """The marks of processes that are gone, locked meanwhile."""
    left: list[Path] = []
    opened: list[int] = []
    try:
        try:
            found = sorted(_directory().glob(f"{key}.*")) if key else []
        except OSError:
            found = []
        for path in found:
            try:
                fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            opened.append(fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            left.append(path)
        yield left
    finally:
        for fd in opened:
            os.close(fd)
