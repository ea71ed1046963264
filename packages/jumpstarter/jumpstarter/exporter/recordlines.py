"""The lines of a record: an entry each, as JSON, without secrets."""

from __future__ import annotations

import json
import time
from json.encoder import encode_basestring_ascii

from .recordentries import Entry, Running
from .redaction import MAX_TEXT, SLACK, Secrets

_encode = json.JSONEncoder(separators=(",", ":")).encode
_quoted = encode_basestring_ascii


class Lines:
    """Makes lines of entries. Used by one thread."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._offset = 0.0
        self._second, self._second_text = -1, ""

    def set_clock(self) -> None:
        """Take the wall clock as it is now for the times that follow."""
        self._offset = time.time() - time.monotonic()

    def _head(self, mono: float, kind: str) -> str:
        wall = mono + self._offset
        second = int(wall)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f'{{"time":"{self._second_text}.{int((wall - second) * 1e6):06d}Z","mono":{mono:.6f},"kind":"{kind}"'

    def of(self, entry: Entry | Running) -> bytes:
        """The line of an entry, whatever is in it."""
        try:
            return self._running(entry) if isinstance(entry, Running) else self._plain(entry)
        except Exception as e:  # noqa: BLE001 values can be objects of drivers, and raise anything
            return self._plain(Entry("lost", {"entries": 1, "why": f"{entry.kind}: {type(e).__name__}"}))

    def _plain(self, entry: Entry) -> bytes:
        clean = self._secrets.clean_value
        body = _encode({key: clean(value) for key, value in entry.fields.items()})
        return f"{self._head(entry.mono, entry.kind)}{',' if len(body) > 2 else ''}{body[1:]}\n".encode()

    def _running(self, entry: Running) -> bytes:
        if entry.kind == "stream":  # whose begin has a line of its own
            parts = [self._head(entry.mono + entry.seconds, "stream"), f'"id":{entry.number},"event":"close"']
        else:
            parts = [self._head(entry.mono, entry.kind), f'"id":{entry.number}']
        parts.append(f'"driver":{_quoted(entry.driver)},"method":{_quoted(self._secrets.clean(entry.method, 200))}')
        parts.append(self._arguments(entry))
        if entry.outcome is None:
            parts.append('"outcome":"running"')
        else:
            parts.append(f'"seconds":{entry.seconds:.6f},"outcome":"{entry.outcome}"')
        for name, number in (("items", entry.items), ("received", entry.received), ("sent", entry.sent)):
            if number is not None:
                parts.append(f'"{name}":{number}')
        if entry.error is not None:
            parts.append(f'"error":{_quoted(self._secrets.clean(error_text(entry.error)))}')
        return f"{','.join(filter(None, parts))}}}\n".encode()

    def _arguments(self, entry: Running) -> str:
        """The arguments by name, if there are any."""
        if entry.function is None or entry.values is None or not any(entry.values):
            return ""
        try:
            shown = entry.function.shown(entry.values, self._secrets)
        except Exception as e:  # noqa: BLE001 annotations of drivers can be anything
            shown = f"… {type(e).__name__}"
        return f'"args":{_encode(shown)}'


def error_text(error: BaseException) -> str:
    """What a failure says, in one text: the error's class, its message and its notes."""
    message = "; ".join([str(error), *getattr(error, "__notes__", ())])[: MAX_TEXT + SLACK + 1]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
