"""From where on somebody wants to read a console: an offset, a time, or a word."""

import re
from datetime import datetime, timedelta

from .history import History, clock

BOOT = "boot"
"""Text of the mark at which the board was started."""

FORMS = "an offset, 30s, 5m, 2h, a time such as 12:30:05 or 2026-11-27T12:30:05, boot, start or now"

_AGO = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_CLOCK_TIME = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?")


def offset_of(history: History, since: int | str | None) -> int | None:
    """The offset that is meant; None: what comes from now on. ValueError for what is none of the forms.

    Times of day are those of the exporter's host, and of the last 24 hours.
    """
    match since:
        case None | "now":
            return None
        case "start":
            return history.begin()
        case "boot":
            boot = history.newest(lambda event: (event.kind == "mark" and event.text == BOOT) or event.kind == "back")
            return history.begin() if boot is None else boot.offset
        case int():
            if since < 0:
                raise ValueError(f"an offset is 0 or more, not {since}")
            return since
        case _ if since.isdecimal():
            return int(since)
        case _:
            return history.offset_at(_moment(since))


def _moment(text: str) -> float:
    if ago := _AGO.fullmatch(text):
        return clock() - float(ago[1]) * _UNITS[ago[2]]
    try:
        if _CLOCK_TIME.fullmatch(text):
            now = datetime.fromtimestamp(clock())
            today = datetime.fromisoformat(f"{now:%Y-%m-%d}T{text.zfill(len(text) + (text.index(':') == 1))}")
            return (today if today <= now else today - timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ValueError(f"{text!r} is no place in a console; it can be {FORMS}") from None
