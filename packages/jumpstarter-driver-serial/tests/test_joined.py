"""What a command does with bytes on their way between a console and its terminal."""

from hypothesis import given
from hypothesis import strategies as st
from jumpstarter_driver_serial.joined import Until
from jumpstarter_driver_serial.terminal import Keys


@given(pieces=st.lists(st.text("ab", max_size=3).map(str.encode), max_size=12))
def test_until_finds_its_text_in_pieces_of_any_size(pieces: list[bytes]) -> None:
    written = bytearray()
    until = Until(written.extend, "abba")
    found = False
    for piece in pieces:
        found = found or until(piece)
    sent = b"".join(pieces)
    assert found == (b"abba" in sent)
    assert bytes(written) == (sent[: sent.index(b"abba") + 4] if found else sent)


def test_keys_see_three_times_control_b_in_a_row_only() -> None:
    for typed, leaves in [((b"\x02\x02\x02",), True), ((b"\x02", b"\x02\x02"), True), ((b"\x02\x02", b"x\x02"), False)]:
        keys = Keys(b"\x1d")
        done = [action for part in typed for action in keys.feed(part)]
        assert (("do", b"q") in done) is leaves
        assert done[0][0] == "send"


def test_the_escape_key_commands_and_twice_is_sent() -> None:
    keys = Keys(b"\x1d")
    assert keys.feed(b"a\x1d") == [("send", b"a")]
    assert keys.feed(b"b\x1d\x1dc") == [("do", b"b"), ("send", b"\x1dc")]
