"""The mark of a medium that holds part of an image, kept by the exporter's host and not on the medium.

It outlives the exporter: whoever kills it in the middle of a transfer finds the medium marked.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from jumpstarter.common.state import file_name, make_private, state_dir

from .common import StorageError


class Journal:
    """The mark of one medium, known by a name that stays the same, or None for one that does not outlive this process.

    Writing a mark raises StorageError, reading never fails.
    """

    def __init__(self, key: str | None) -> None:
        self._name = f"{file_name(key)[-60:]}-{crc32(os.fsencode(key)):08x}.json" if key is not None else None
        self._mark: str | None = None

    def begin(self, what: str) -> None:
        """Mark the medium: from now on it is incomplete."""
        self._mark = what
        if self._name is None:
            return
        try:
            path = make_private(_folder()) / self._name
            part = path.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps({"incomplete": what}))
            part.replace(path)
        except OSError as e:
            raise StorageError(
                f"a medium that is written cannot be marked as incomplete: {e}", "make room, or set XDG_STATE_HOME"
            ) from e

    def end(self) -> None:
        """Take the mark away: the medium holds a whole image."""
        self._mark = None
        if self._name is not None:
            (_folder() / self._name).unlink(missing_ok=True)

    def incomplete(self) -> str | None:
        """What was written when the transfer ended in the middle; None where the medium is whole, as far as we know."""
        if self._name is None:
            return self._mark
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads((_folder() / self._name).read_text())["incomplete"])
        return None


def _folder() -> Path:
    return state_dir() / "media"
