"""What identifies a driver instance, at both ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

NAME_LABEL = "jumpstarter.dev/name"
"""Label: name of an instance under its parent."""

PASSPHRASE_METADATA_KEY = "x-jumpstarter-passphrase"
"""gRPC metadata: the passphrase of an exporter that serves a TCP port."""

ERROR_METADATA_KEY = "x-jmp-error-bin"
"""Trailing gRPC metadata: the ErrorDetails of a call that failed."""

DEBUG_METADATA_KEY = "x-jmp-debug"
"""gRPC metadata: the client wants tracebacks."""

SESSION_METADATA_KEY = "x-jmp-session"
"""gRPC metadata: the token of the session that a call belongs to."""

CLIENT_LABEL = "jumpstarter.dev/client"
"""Label: dotted path of the Python class of an instance's client."""


class _NameFromLabel:
    """The value of the name label, unless a subclass has a field `name`, which then simply takes its place."""

    def __get__(self, instance: Metadata | None, owner: type) -> str:
        if instance is None:
            raise AttributeError("name")  # or a dataclass would take this for the default of its field
        return instance.labels.get(NAME_LABEL, "unknown")


@dataclass(kw_only=True)
class Metadata:
    """Identity and labels of a driver instance."""

    uuid: UUID = field(default_factory=uuid4)
    labels: dict[str, str] = field(default_factory=dict[str, str])

    name = _NameFromLabel()
    """The instance's name under its parent, "unknown" for the root."""
