"""Frames of the router protocol, coded by hand: data is copied once each way, where protobuf copies it twice.

The wire form is that of StreamRequest and StreamResponse, which are alike. What this module does not know at a glance
it leaves to protobuf.
"""

from __future__ import annotations

from typing import NamedTuple

from jumpstarter_protocol.jumpstarter.v1.router_pb2 import StreamRequest

MAX_FRAME = 1 << 20
"""Most bytes that one frame carries; gRPC's limit for a message is 4 MiB."""

DATA, RST_STREAM, PING, GOAWAY = 0, 3, 6, 7
NEXT, DONE = 1000, 1001
"""Additional kinds, of calls that carry one stream after the other; see `router`."""

_PAYLOAD = b"\x0a"  # field 1, length-delimited
_TYPE = b"\x10"  # field 2, varint


class Frame(NamedTuple):
    """One frame: bytes, and what they are."""

    payload: bytes | memoryview = b""
    kind: int = DATA

    def serialize(self) -> bytes:
        """The wire form."""
        head = _PAYLOAD + _varint(len(self.payload)) if self.payload else b""
        tail = _TYPE + _varint(self.kind) if self.kind else b""
        return b"".join((head, self.payload, tail))


def decode(data: bytes) -> Frame:
    """The frame of a wire form; raises protobuf's DecodeError for what is none."""
    if data[:1] == _PAYLOAD:
        size = shift = 0
        for position in range(1, min(len(data), 6)):
            byte = data[position]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if position + 1 + size == len(data):
                    return Frame(data[position + 1 :])
                break
    message = StreamRequest.FromString(data)
    return Frame(message.payload, message.frame_type)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
