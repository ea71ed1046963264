"""Frames coded by hand are those of protobuf."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.streams.frames import DATA, GOAWAY, Frame, decode
from jumpstarter_protocol.jumpstarter.v1.router_pb2 import StreamRequest, StreamResponse

kinds = st.sampled_from([0, 3, 6, 7, 1, 42, 300])


@given(st.binary(max_size=300), kinds)
def test_an_encoded_frame_is_what_protobuf_reads(payload: bytes, kind: int) -> None:
    message = StreamRequest.FromString(Frame(memoryview(payload), kind).serialize())
    assert (message.payload, message.frame_type) == (payload, kind)


@given(st.binary(max_size=300), kinds)
def test_a_frame_of_protobuf_is_decoded(payload: bytes, kind: int) -> None:
    message = StreamResponse(payload=payload)
    message.frame_type = kind  # pyright: ignore[reportAttributeAccessIssue] numbers without a name are legal
    assert decode(message.SerializeToString()) == Frame(payload, kind)


def test_a_large_frame_survives() -> None:
    payload = bytes(range(256)) * 8192
    assert decode(Frame(payload, DATA).serialize()) == Frame(payload)


def test_fields_may_come_in_any_order_and_unknown_ones_are_passed_over() -> None:
    assert decode(b"\x10\x07\x0a\x01x") == Frame(b"x", GOAWAY)
    assert decode(b"\x0a\x01x\xc2\x3e\x03new") == Frame(b"x")


@given(st.binary(max_size=64))
def test_any_bytes_are_a_frame_or_a_decode_error(data: bytes) -> None:
    try:
        expected = StreamRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            decode(data)
    else:
        assert decode(data) == Frame(expected.payload, expected.frame_type)
