"""What a reader does when the port is lost: fail at once, wait for some time, or go on with a mark in the output."""

from dataclasses import dataclass
from typing import Literal

from jumpstarter.common.exceptions import ConfigurationError

DEFAULT_WAIT = 30.0


@dataclass(frozen=True)
class UnplugPolicy:
    """One of them."""

    kind: Literal["fail", "wait", "mark"]
    seconds: float = 0.0
    """Of `wait`: how long."""

    @classmethod
    def parse(cls, text: str) -> "UnplugPolicy":
        """`fail`, `wait`, `wait=SECONDS` or `mark`; ConfigurationError for anything else."""
        word, given, number = text.partition("=")
        if word == "wait":
            try:
                seconds = float(number) if given else DEFAULT_WAIT
            except ValueError:
                seconds = -1.0
            if 0 <= seconds < float("inf"):
                return cls("wait", seconds)
        elif not given and word in ("fail", "mark"):
            return cls("fail" if word == "fail" else "mark")
        raise ConfigurationError(f"what happens on unplugging is fail, wait=SECONDS or mark, not {text!r}")

    def __str__(self) -> str:
        return f"wait={self.seconds:g}" if self.kind == "wait" else self.kind


FAIL, MARK = UnplugPolicy("fail"), UnplugPolicy("mark")
