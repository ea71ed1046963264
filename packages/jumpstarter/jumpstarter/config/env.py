"""Names of the environment variables that configurations read."""

from ..common.env import JMP_NAME, JMP_NAMESPACE

__all__ = ["JMP_CLIENT_CONFIG_HOME", "JMP_NAME", "JMP_NAMESPACE", "XDG_CONFIG_HOME"]

JMP_CLIENT_CONFIG_HOME = "JMP_CLIENT_CONFIG_HOME"
"""Directory of the configuration files, in place of XDG_CONFIG_HOME/jumpstarter."""

XDG_CONFIG_HOME = "XDG_CONFIG_HOME"
"""Directory of the user's configuration files of all programs; ~/.config if not set."""
