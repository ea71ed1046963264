"""Frames of an attached console: any bytes, cut in any way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter_driver_serial.frames import DATA, JSON, Decoder, data_frame, frame, json_frame, parse_data, parse_json


@given(st.lists(st.tuples(st.sampled_from([DATA, JSON]), st.binary(max_size=100))), st.integers(1, 50))
def test_frames_survive_any_cut(frames: list[tuple[bytes, bytes]], size: int) -> None:
    wire = b"".join(frame(kind, payload) for kind, payload in frames)
    decoder = Decoder()
    got = [item for start in range(0, len(wire), size) for item in decoder.feed(wire[start : start + size])]
    assert got == frames
    assert decoder.is_between


@given(st.binary(max_size=200))
def test_what_is_no_frame_is_refused_or_waited_for(wire: bytes) -> None:
    decoder = Decoder()
    try:
        for kind, _ in decoder.feed(wire):
            assert kind in (DATA, JSON)
    except ValueError:
        pass


@given(st.integers(0, 2**63), st.floats(0, 1e10), st.binary())
def test_data_has_its_place(offset: int, moment: float, data: bytes) -> None:
    [(kind, payload)] = Decoder().feed(data_frame(offset, moment, data))
    assert (kind, parse_data(payload)) == (DATA, (offset, moment, data))


def test_objects_are_json() -> None:
    [(kind, payload)] = Decoder().feed(json_frame(since="start", take=True))
    assert (kind, parse_json(payload)) == (JSON, {"since": "start", "take": True})
    for wrong in (b"", b"[]", b"{", b"[" * 100_000):
        with pytest.raises(ValueError, match="JSON"):
            parse_json(wrong)
    with pytest.raises(ValueError, match="too short"):
        parse_data(b"123")
