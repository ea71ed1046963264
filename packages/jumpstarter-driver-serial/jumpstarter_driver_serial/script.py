"""Scripts of waiting and sending, which the exporter runs next to the port."""

from dataclasses import dataclass, field

DEFAULT_TIMEOUT = 30.0
RETURN = "\r"
"""What the Enter key sends."""


@dataclass(kw_only=True)
class Step:
    """One step of a script: it waits, sends, pauses, or sends a break, and nothing else."""

    wait: str | None = None
    """A regular expression; lines end with `\\r\\n` on most consoles, and a match has at most 8 KiB."""

    fail: str | None = None
    """While waiting: a regular expression of what means failure, such as a panic."""

    timeout: float = DEFAULT_TIMEOUT
    """Seconds to wait; of text to send, those that the device may take longer than the line needs."""

    send: str | None = None
    """Text to send as it is."""

    line: str | None = None
    """Text to send, and Enter."""

    pause: float | None = None
    """Seconds to do nothing."""

    send_break: float | None = None
    """Seconds to hold the line in break."""


@dataclass(kw_only=True)
class StepResult:
    """What came of a step. Bytes that are not UTF-8 are shown as `\\xff`."""

    did: str
    """wait, send, pause or break."""

    seconds: float
    """How long it took."""

    time: float
    """When it ended, in seconds since the epoch."""

    offset: int
    """Where the console was then: of the byte after the match."""

    before: str = ""
    """What came before the match, from the last one on; at most its last 64 KiB."""

    match: str = ""
    """What matched."""

    groups: list[str | None] = field(default_factory=list["str | None"])
    """Groups of the expression."""


@dataclass(kw_only=True)
class ScriptResult:
    """What came of a script."""

    ok: bool
    """Whether all steps were done."""

    failure: str
    """Why not; empty where they were."""

    kind: str
    """timeout, failed, lost or busy; empty where it is ok."""

    steps: list[StepResult]
    """What came of each, up to the one that failed."""

    rest: str
    """What came after the last match, at most its last 64 KiB: of a failure, what came instead."""
