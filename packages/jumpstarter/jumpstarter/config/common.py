"""What client and exporter configurations have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .env import JMP_CLIENT_CONFIG_HOME, JMP_NAME, JMP_NAMESPACE, XDG_CONFIG_HOME
from .schema import key

CONFIG_API_VERSION = "jumpstarter.dev/v1alpha1"


def _config_path() -> Path:
    if home := os.environ.get(JMP_CLIENT_CONFIG_HOME):
        return Path(home)
    return Path(os.environ.get(XDG_CONFIG_HOME) or Path("~/.config").expanduser()) / "jumpstarter"


CONFIG_PATH = _config_path()
"""Directory of the user's configuration files."""


@dataclass(kw_only=True)
class ObjectMeta:
    """What a controller knows an exporter or client by."""

    namespace: str | None = field(
        metadata=key(always=True, env=JMP_NAMESPACE, help="Namespace at the controller; null outside of one.")
    )
    name: str = field(metadata=key(always=True, env=JMP_NAME, help="Name within the namespace."))
