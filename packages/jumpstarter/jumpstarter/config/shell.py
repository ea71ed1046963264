"""Public path of the configuration of shells."""

from .client import ShellConfigV1Alpha1

__all__ = ["ShellConfigV1Alpha1"]
