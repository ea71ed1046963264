"""What of our environment the processes get that we start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from shutil import which

_ALLOWED = frozenset(
    (
        *("HOME", "LOGNAME", "SHELL", "TZ", "USER"),
        *("LANG", "LANGUAGE", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "VIRTUAL_ENV"),
        *("SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR"),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"),
    )
)


def allowed_environment(more: Iterable[str] = ()) -> dict[str, str]:
    """The variables that say where things are and in what language, and those that `more` names.

    All others stay here, since they may be secrets: tokens, passphrases, addresses of proxies.
    """
    allowed = _ALLOWED | set(more)
    return {name: value for name, value in os.environ.items() if name in allowed or name.startswith("LC_")}


def path_with_commands(environment: Mapping[str, str]) -> str:
    """The search path; where it has no `j`, because we were called by our path, our own directory comes last."""
    path = environment.get("PATH", os.defpath)
    if which("j", path=path) is not None:
        return path
    ours = (str(Path(program).absolute().parent) for program in (sys.argv[0], sys.executable))
    return os.pathsep.join([path, *(directory for directory in ours if which("j", path=directory))][:2])
