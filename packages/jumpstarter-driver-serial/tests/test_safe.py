"""The filter between a device and the user's terminal."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter_driver_serial.safe import SafeTerminal

LEGITIMATE = [
    b"plain text\r\n\ttabs, \a bell, \b backspace\n",
    "Grüße, 漢字, 🙂\r\n".encode(),
    b"\x1b[0;1;31mred\x1b[m \x1b[38;5;208morange\x1b[0m \x1b[38;2;1;2;3mrgb\x1b[0m",
    # a boot menu: clear, move, reverse, arrow, save and restore, hide the cursor
    b"\x1b[2J\x1b[1;1H\x1b[?25l\x1b[5;10H\x1b[7m  *Linux  \x1b[27m\x1b[6;10H   Rescue\x1b[K"
    b"\x1b7\x1b[24;1H\x1b8\x1b[?25h",
    b"\x1b(0lqqqk\x1b(B \x0e\x0f",
    b"\x1b[2;20r\x1b[3L\x1b[2M\x1b[4P\x1b[2@\x1b[5X\x1b[2S\x1b[1T\x1bM\x1bD\x1b[r",
    b"\x1b[?1049h\x1b[Hvi\x1b[?1049l\x1b[?1h\x1b=\x1b[?1l\x1b>",
    b"\x1b[4hinsert\x1b[4l\x1b[2 q",
]

DANGEROUS = [
    b"\x1b]0;title\x07",
    b"\x1b]52;c;c3VkbyBybSAtcmYgLwo=\x07",
    b"\x1b]52;c;?\x1b\\",
    b"\x1b]4;1;rgb:00/00/00\x07\x1b]10;?\x07\x1b]8;;http://evil\x1b\\",
    b'\x1bP$q"p\x1b\\\x1bP+q544e\x1b\\',
    b"\x1b_Gi=1;AAAA\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\",
    b"\x1b[c\x1b[>c\x1b[=c\x1b[5n\x1b[6n\x1b[?6n\x1b[x\x1bZ\x05",
    b"\x1b[21t\x1b[18t\x1b[8;1;1t\x1b[3;0;0t",
    b"\x1b[?1000h\x1b[?1002h\x1b[?1003h\x1b[?1004h\x1b[?1006h\x1b[?9h",
    b"\x1b[5i\x1b[4i\x1b[?5i",
    b"\x1b[>4;2m\x1b[>1u\x1b[=1u\x1b[?2026$p\x1b[?69h\x1b[?3h",
    "\x9b6n\x9d0;title\x9c\x90q\x9c".encode(),
    b"\x9b6n\x9d0;t\x9c",
    b"\x1b%G\x1b#8\x1bn\x1bo\x1b~\x1b|",
    b"\x1b[999999999b",
    b"\x00\x01\x02\x03\x04\x06\x10\x11\x12\x13\x14\x7f",
]

ALLOWED = re.compile(
    rb"""
      [\x07-\x0f\x20-\x7e]                                     # text and plain controls
    | [\xc2-\xf4][\x80-\xbf]{1,3}                              # UTF-8
    | \x1b[78DEHM=>]
    | \x1b[()*+][AB0]
    | \x1b\[[0-9:;]*[@A-MPSTXZ`abdefgmrsu]
    | \x1b\[(?:4|20)(?:;(?:4|20))*[hl]
    | \x1b\[\?(?:1|5|6|7|12|25|47|1047|1048|1049|2004)(?:;(?:1|5|6|7|12|25|47|1047|1048|1049|2004))*[hl]
    | \x1b\[\?[0-9;]*[JK]
    | \x1b\[[0-9]*\ q
    | \x1b\[[0-9:;]*!p
    """,
    re.VERBOSE,
)
C1 = re.compile("[\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def filtered(data: bytes, size: int | None = None) -> bytes:
    """What is shown of data that comes in pieces of a size."""
    terminal = SafeTerminal()
    size = size or max(1, len(data))
    return b"".join(terminal.feed(data[start : start + size]) for start in range(0, len(data), size))


def assert_harmless(shown: bytes) -> None:
    """Every byte belongs to something that is allowed; said by a grammar that knows nothing of the filter's states."""
    at = 0
    while at < len(shown):
        match = ALLOWED.match(shown, at)
        assert match is not None, shown[max(0, at - 20) : at + 20]
        at = match.end()
    assert C1.search(shown.decode()) is None


@pytest.mark.parametrize("data", LEGITIMATE)
@pytest.mark.parametrize("size", [None, 1, 3])
def test_what_draws_passes_unchanged(data: bytes, size: int | None) -> None:
    shown = filtered(data, size)
    assert shown == data
    assert_harmless(shown)


@pytest.mark.parametrize("data", DANGEROUS)
@pytest.mark.parametrize("size", [None, 1])
def test_what_acts_on_the_terminal_does_not(data: bytes, size: int | None) -> None:
    shown = filtered(b"before " + data + b" after", size)
    assert_harmless(shown)
    assert shown.startswith(b"before ")
    assert shown.endswith(b" after")
    assert b"\x1b" not in shown


def test_a_string_without_an_end_does_not_swallow_the_console() -> None:
    assert filtered(b"\x1b]0;no end\r\nnext line") == b"\r\nnext line"
    assert filtered(b"\x1bP" + b"x" * 5000 + b"next").endswith(b"next")


def test_a_full_reset_clears_only() -> None:
    assert filtered(b"\x1bc") == b"\x1b[!p\x1b[H\x1b[2J"


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert filtered(b"a\xff\xfeb\xc3") == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b".encode()


def test_text_that_turns_around_is_shown_as_such() -> None:
    assert filtered("a\u202eb".encode()) == b"a\\u202eb"


def test_the_terminal_is_left_as_it_was() -> None:
    terminal = SafeTerminal()
    terminal.feed(b"\x1b[?1049h\x1b[?25l\x1b[31m\x1b(0\x1b[?7l\x1b[4h\x1b[5;9r\x1b=")
    undone = terminal.close()
    for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[0m", b"\x1b(B", b"\x1b[?7h", b"\x1b[4l", b"\x1b[r", b"\x1b>"):
        assert sequence in undone
    assert_harmless(undone)
    terminal.feed(b"\x1b[?1049h\x1b[?1049l")
    assert terminal.close() == b""


@given(st.binary(max_size=300), st.integers(1, 7))
def test_any_bytes_are_harmless_however_they_are_cut(data: bytes, size: int) -> None:
    shown = filtered(data, size)
    assert shown == filtered(data)
    assert_harmless(shown)


def test_a_mebibyte_of_sequences_is_harmless_and_what_draws_in_it_is_there() -> None:
    noise = random.Random(6)
    parts: list[bytes] = []
    length, legitimate = 0, 0
    while length < 1 << 20:
        match noise.randrange(4):
            case 0:
                part = noise.choice(LEGITIMATE)
                legitimate += 1
                part = b"<\x1b[0m" + part + b">"
            case 1:
                part = noise.choice(DANGEROUS) + b"\x18"  # CAN ends what is not complete
            case 2:
                part = bytes(noise.choice(b"\x1b[]P;?0123456789hlmntcq\x07\\\x9b") for _ in range(noise.randrange(40)))
                part += b"\x18\n"
            case _:
                part = noise.randbytes(noise.randrange(40)) + b"\x18\x18\n"
        parts.append(part)
        length += len(part)
    corpus = b"".join(parts)
    shown = filtered(corpus, 4096)
    assert_harmless(shown)
    position = 0
    for part in parts:  # everything that draws is there, in order
        if part.startswith(b"<\x1b[0m"):
            position = shown.find(part, position)
            assert position >= 0, part
            position += len(part)
    assert legitimate > 1000
