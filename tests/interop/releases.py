"""Releases of the public project, each in an environment of its own, with which ours have to get along.

An environment is made once for each set of pins and kept outside the checkout, below $XDG_CACHE_HOME.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).parent / "peers"

OURS = "ours"
NEWEST, OLDER = "0.9.0", "0.8.1"


class NotInstalledError(Exception):
    """A release cannot be installed here; the message says why."""


def environment_of(release: str, uv: str) -> Path:
    """The `bin` folder of a release's environment, which is made where there is none."""
    if release == OURS:
        return Path(sys.executable).parent
    return made(release, PINS / f"{release}.txt", uv) / "bin"


def made(name: str, pins: Path, uv: str, *options: str) -> Path:
    """The environment with what a file pins, made where there is none. Raises NotInstalledError."""
    key = hashlib.sha256("\n".join([pins.read_text(), sys.version, *options]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jumpstarter-interop"
    folder = cache / f"{name}-{key}"
    complete = folder / "complete"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            run(uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(folder))
            install(folder, uv, "--no-deps", "--requirements", str(pins), *options)
            complete.touch()
    return folder


def install(folder: Path, uv: str, *what: str) -> None:
    """Install into an environment. Raises NotInstalledError."""
    run(uv, "pip", "install", "--quiet", "--no-config", "--python", str(folder / "bin/python"), *what)


def run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise NotInstalledError(f"{' '.join(command)}\n{done.stderr}")
