"""How the stream `attach` has bytes and events together, both ways.

A frame is one byte for its kind, four for the length of what follows, and that. Numbers are big-endian.

| kind | from | payload |
|---|---|---|
| `D` | exporter | offset (8 bytes), time (IEEE double, seconds since the epoch), bytes of the console |
| `D` | client | bytes to send |
| `J` | client | an object: first what it wants, later `{"take": true}`, `{"give": true}` or `{"sync": anything}` |
| `J` | exporter | an object whose `event` is `begin`, `dropped`, `refused`, `sync` or the kind of an `Event` |
"""

import json
import struct
from collections.abc import Iterator
from typing import Any, cast

_HEAD = struct.Struct("!cI")
_PLACE = struct.Struct("!Qd")

MAX_PAYLOAD = 4 << 20

DATA, JSON = b"D", b"J"

Frame = tuple[bytes, bytes]


def frame(kind: bytes, payload: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(kind, len(payload)) + payload


def data_frame(offset: int, moment: float, data: bytes) -> bytes:
    """Bytes of the console with their place."""
    return frame(DATA, _PLACE.pack(offset, moment) + data)


def json_frame(**fields: Any) -> bytes:
    """An object."""
    return frame(JSON, json.dumps(fields).encode())


def parse_data(payload: bytes) -> tuple[int, float, bytes]:
    """Offset, time and bytes of a data frame of the exporter; ValueError for a short one."""
    if len(payload) < _PLACE.size:
        raise ValueError("a data frame is too short")
    offset, moment = _PLACE.unpack_from(payload)
    return offset, moment, payload[_PLACE.size :]


def parse_json(payload: bytes) -> dict[str, Any]:
    """The object of a frame; ValueError where there is none."""
    try:
        value: Any = json.loads(payload)
    except (ValueError, RecursionError):
        raise ValueError("a frame is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("a frame is not a JSON object")
    return cast("dict[str, Any]", value)


class Decoder:
    """Makes frames of bytes, however they are cut."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now; ValueError for what is no frame."""
        self._rest += data
        while len(self._rest) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._rest)
            if kind not in (DATA, JSON) or length > MAX_PAYLOAD:
                raise ValueError("this is not a stream of console frames")
            end = _HEAD.size + length
            if len(self._rest) < end:
                return
            payload = bytes(memoryview(self._rest)[_HEAD.size : end])
            del self._rest[:end]
            yield kind, payload

    @property
    def is_between(self) -> bool:
        """Whether all bytes belong to complete frames."""
        return not self._rest
