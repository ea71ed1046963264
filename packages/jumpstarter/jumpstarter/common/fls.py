"""Where the program `fls` is, which drivers of the public release write images with."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import tempfile
from pathlib import Path
from urllib.request import urlopen

RELEASES = "https://github.com/jumpstarter-dev/fls/releases/download"
TIMEOUT = 60.0
"""Seconds without a byte after which a download fails."""


def get_fls_github_url(version: str, arch: str | None = None) -> str:
    """Where a version is published, for this machine or another architecture."""
    machine = (arch or platform.machine()).lower()
    names = {"arm64": "aarch64", "amd64": "x86_64"}
    return f"{RELEASES}/{version}/fls-{names.get(machine, machine)}-linux"


def download_fls(url: str, timeout: float = TIMEOUT) -> str:
    """Download a program to a temporary file that only this user can write; returns its path."""
    descriptor, path = tempfile.mkstemp(prefix="fls-")
    try:
        with os.fdopen(descriptor, "wb") as file, urlopen(url, timeout=timeout) as response:
            shutil.copyfileobj(response, file)
        Path(path).chmod(stat.S_IRWXU)
    except BaseException:
        Path(path).unlink()
        raise
    return path


def get_fls_binary(
    fls_version: str | None = None,
    fls_binary_url: str | None = None,
    allow_custom_binaries: bool = False,
) -> str:
    """The program to run: the one at a URL, where that is allowed; a version from its releases; else the one on PATH.

    Raises RuntimeError for a URL that is not allowed.
    """
    if fls_binary_url:
        if not allow_custom_binaries:
            raise RuntimeError("a URL of fls is given, and this exporter's configuration does not allow any")
        return download_fls(fls_binary_url)
    if fls_version:
        return download_fls(get_fls_github_url(fls_version))
    return "fls"
