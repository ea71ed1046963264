"""The record of a session as lines for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..common.records import Entry, Record
from ..common.text import one_line

_EMPTY: tuple[Any, ...] = ("", None, [], {})
_UNITS = ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "min"))


def line_of(entry: Entry, start: float) -> str:
    """One line for an entry; its time is that since the session began."""
    kind = str(entry.get("kind", ""))
    text = one_line(f"{kind:<7}  {_TEXTS.get(kind, _other)(entry)}")
    return f"{_number(entry.get('mono')) - start:+10.3f}  {text}"


def heading(record: Record) -> str:
    """What comes before the lines: whose record it is."""
    head = record.head
    where = f"exporter {head.get('exporter')} (process {head.get('pid')} on {head.get('host')})"
    return one_line(f"session {record.id} of {where}, {began_text(record.begin)}{holder_text(record.begin, ', ')}")


def began_text(entry: Entry) -> str:
    """When something began, in local time."""
    try:
        return f"{datetime.fromisoformat(str(entry.get('time'))).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return "?"


def holder_text(begin: Entry, prefix: str = "") -> str:
    """Who has the session, as far as the record says."""
    who = [str(begin[key]) for key in ("user", "host") if begin.get(key)]
    purpose = [str(begin[key]) for key in ("purpose",) if begin.get(key)]
    text = " ".join(["@".join(who), *purpose]).strip()
    return prefix + text if text else ""


def duration_text(seconds: Any) -> str:
    """A duration in the unit that suits it."""
    value = _number(seconds)
    for below, factor, unit in _UNITS:
        if value < below:
            return f"{value * factor:.3g} {unit}"
    return f"{value / 3600:.3g} h"


def size_text(size: Any) -> str:
    """A number of bytes in the unit that suits it."""
    value = _number(size)
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _method(entry: Entry) -> str:
    return ".".join(filter(None, (str(entry.get("driver") or ""), str(entry.get("method") or ""))))


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fields(entry: Entry, *without: str) -> str:
    known = {"time", "mono", "kind", "event", *without}
    return " ".join(
        f"{key}={_value(value)}" for key, value in entry.items() if key not in known and value not in _EMPTY
    )


def _outcome(entry: Entry) -> str:
    outcome = str(entry.get("outcome"))
    return f"failed: {entry.get('error', '')}" if outcome == "failed" else outcome


def _call(entry: Entry) -> str:
    args: Any = entry.get("args")
    shown = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in args.items()) if args else ""
    if entry.get("outcome") == "running":
        return f"{_method(entry)}({shown})  still running"
    items = f", {entry['items']} items" if "items" in entry else ""
    return f"{_method(entry)}({shown})  {duration_text(entry.get('seconds'))}{items}  {_outcome(entry)}"


def _stream(entry: Entry) -> str:
    if entry.get("event") == "open":
        return f"{_method(entry)} opened"
    sizes = f"{size_text(entry.get('received'))} in, {size_text(entry.get('sent'))} out"
    return f"{_method(entry)} closed after {duration_text(entry.get('seconds'))}, {sizes}  {_outcome(entry)}"


def _log(entry: Entry) -> str:
    source = ".".join(filter(None, (str(entry.get("driver") or ""), str(entry.get("operation") or ""))))
    fields: Any = entry.get("fields")
    more = " ".join(f"{name}={value}" for name, value in fields.items()) if fields else ""
    return f"{entry.get('level', '')!s:<7} {source or entry.get('source', '')}: {entry.get('message', '')} {more}"


def _session(entry: Entry) -> str:
    if entry.get("event") == "begin":
        return f"begins  {_fields(entry, 'session')}"
    cause = f": {entry['cause']}" if entry.get("cause") else ""
    counts = f"{entry.get('calls')} calls ({entry.get('failed')} failed), {entry.get('streams')} streams"
    lost = f", {entry['lost']} entries lost" if entry.get("lost") else ""
    more = _fields(entry, "cause", "calls", "failed", "streams", "lost", "seconds")
    return f"ended after {duration_text(entry.get('seconds'))}{cause}; {counts}{lost} {more}"


def _state(entry: Entry) -> str:
    reason = f": {entry['reason']}" if entry.get("reason") else ""
    before = f"{entry['before']} → " if entry.get("before") else ""
    more = _fields(entry, "driver", "before", "state", "reason")
    return f"{entry.get('driver', '')}  {before}{entry.get('state', '')}{reason}  {more}"


def _console(entry: Entry) -> str:
    what = f"[{entry['event']}] " if entry.get("event") else ""
    return f"{entry.get('driver', '')}  {what}{entry.get('text', '')}"


def _lost(entry: Entry) -> str:
    return f"{entry.get('entries')} entries are missing: {entry.get('why', '')}"


def _record(entry: Entry) -> str:
    return f"{entry.get('lost')} entries are missing so far: the record had no room for them"


def _other(entry: Entry) -> str:
    return " ".join(filter(None, (str(entry.get("event") or ""), _fields(entry))))


_TEXTS: dict[str, Callable[[Entry], str]] = {
    "call": _call,
    "stream": _stream,
    "log": _log,
    "session": _session,
    "state": _state,
    "console": _console,
    "lost": _lost,
    "record": _record,
}
