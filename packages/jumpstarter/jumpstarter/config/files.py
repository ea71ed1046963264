"""Configuration files on disk: written whole or not at all, and for this user only."""

from __future__ import annotations

import os
from pathlib import Path

from ..common.exceptions import ArgumentError
from .problems import ConfigurationNotFoundError


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read; a reader sees the old or the new one, whatever happens."""
    import tempfile  # slow, and exporters never write

    path = path.resolve()  # a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # of mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def config_file(kind: str, folder: Path, alias: str) -> Path:
    """The file of the configuration of that name; ArgumentError where the name is none."""
    if not alias or alias in (".", "..") or {"/", "\\", "\0"} & set(alias):
        raise ArgumentError(f"{alias!r} is not the name of a configuration; a file is given by --{kind}-config")
    return folder / f"{alias}.yaml"


def find_config(kind: str, alias: str, *folders: Path) -> Path:
    """The file of a configuration in the first folder that has it; ConfigurationNotFoundError where none does."""
    files = [config_file(kind, folder, alias) for folder in folders]
    for file in files:
        if file.exists():
            return file
    raise ConfigurationNotFoundError(
        [f"there is no {kind} configuration {alias!r}; put it in {' or '.join(map(str, files))}"]
    )
