"""What an exporter runs around a lease, and when it gives up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .schema import key


@dataclass(kw_only=True)
class HookInstanceConfigV1Alpha1:
    """A script that runs before or after a lease."""

    script: str = field(metadata=key(help="Text of the script, or path of a file."))
    exec_: str | None = field(default=None, metadata=key("exec", "exec_", help="Interpreter; the shell if not set."))
    timeout: int = field(default=120, metadata=key(least=1, help="Seconds until the script is ended."))
    on_failure: Literal["warn", "endLease", "exit"] = field(
        default="warn", metadata=key("onFailure", "on_failure", help="What happens when the script fails.")
    )
    pass_environment: list[str] = field(
        default_factory=list[str],
        metadata=key("passEnvironment", "pass_environment", help="Names of the exporter's variables that it gets."),
    )


@dataclass(kw_only=True)
class HookConfigV1Alpha1:
    """The scripts around a lease."""

    before_lease: HookInstanceConfigV1Alpha1 | None = field(
        default=None, metadata=key("beforeLease", "before_lease", help="Runs before a client gets the devices.")
    )
    after_lease: HookInstanceConfigV1Alpha1 | None = field(
        default=None, metadata=key("afterLease", "after_lease", help="Runs after a client has left.")
    )


@dataclass(kw_only=True)
class FailureDetectionConfigV1Alpha1:
    """How many failures in a row make the exporter give up."""

    max_rapid_failures: int = field(
        default=5, metadata=key("maxRapidFailures", "max_rapid_failures", least=1, help="Failures within the window.")
    )
    rapid_failure_window: int = field(
        default=60, metadata=key("rapidFailureWindow", "rapid_failure_window", least=1, help="Seconds.")
    )
