"""Names of the environment variables that configurations read."""

from ..common.env import (
    JMP_DIAL_TIMEOUT,
    JMP_DRIVERS_ALLOW,
    JMP_DRIVERS_UNSAFE,
    JMP_ENDPOINT,
    JMP_GRPCOPTIONS,
    JMP_LEASE,
    JMP_NAME,
    JMP_NAMESPACE,
    JMP_REFRESH_TOKEN,
    JMP_RETRY_TIMEOUT,
    JMP_TLS,
    JMP_TOKEN,
)

__all__ = [
    "JMP_CLIENT_CONFIG_HOME",
    "JMP_DIAL_TIMEOUT",
    "JMP_DRIVERS_ALLOW",
    "JMP_DRIVERS_UNSAFE",
    "JMP_ENDPOINT",
    "JMP_GRPCOPTIONS",
    "JMP_LEASE",
    "JMP_NAME",
    "JMP_NAMESPACE",
    "JMP_REFRESH_TOKEN",
    "JMP_RETRY_TIMEOUT",
    "JMP_TLS",
    "JMP_TOKEN",
    "XDG_CONFIG_HOME",
]

JMP_CLIENT_CONFIG_HOME = "JMP_CLIENT_CONFIG_HOME"
"""Directory of the configuration files, in place of XDG_CONFIG_HOME/jumpstarter."""

XDG_CONFIG_HOME = "XDG_CONFIG_HOME"
"""Directory of the user's configuration files of all programs; ~/.config if not set."""
