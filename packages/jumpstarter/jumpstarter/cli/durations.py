"""Times on the command line: `90`, `1d3h40m`, `PT30M`, `01:30:00`, and moments such as `2026-11-27T18:00`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import click

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_HUMAN = re.compile(r"(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?", re.ASCII)
_ISO = re.compile(
    r"P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?", re.ASCII | re.IGNORECASE
)
_CLOCK = re.compile(r"(?:(?P<d>\d+)[ ,]+)?(?P<h>\d+):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d(?:\.\d+)?))?", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The duration that a text stands for; a plain number is seconds. Raises ValueError."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return timedelta(seconds=float(text))
    for form in (_HUMAN, _ISO, _CLOCK):
        match = form.fullmatch(text)
        if match is not None and any(match.groupdict().values()):
            return timedelta(**{_UNITS[unit]: float(value) for unit, value in match.groupdict().items() if value})
    raise ValueError(f"{text!r} is no duration, such as 90 (seconds), 1d3h40m, PT30M or 01:30:00")


class DurationType(click.ParamType):  # pyright: ignore[reportMissingTypeArgument] click 8.2 takes none
    """A duration longer than nothing."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            duration = parse_duration(str(value))
        except (ValueError, OverflowError) as e:
            self.fail(str(e), param, ctx)
        if duration <= timedelta():
            self.fail("a lease has to last longer than that", param, ctx)
        return duration


class MomentType(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A moment in ISO 8601, local time without an offset."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return datetime.fromisoformat(str(value)).astimezone()
        except ValueError:
            self.fail(f"{value!r} is no moment, such as 2026-11-27T18:00 or 2026-11-27T18:00:00+01:00", param, ctx)


DURATION, MOMENT = DurationType(), MomentType()


def show(duration: timedelta) -> str:
    """A duration for people, as it can be typed in: `1h30m`."""
    left = int(duration.total_seconds())
    parts: list[str] = []
    for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
