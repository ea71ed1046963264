"""What is said to a DUTLink and what it says, as functions of bytes and text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter_driver_dutlink.protocol import (
    FIELDS,
    Key,
    decode_field,
    encode_field,
    parse_reading,
    parse_version,
    sequence_seconds,
)
from jumpstarter_driver_dutlink.transparent import BACK, LEFT, TransparentPort

HUNDREDTHS = st.integers(-3000, 3000).map(lambda number: number / 100)


@given(volts=HUNDREDTHS, amps=HUNDREDTHS, watts=HUNDREDTHS, order=st.permutations((0, 1, 2)))
def test_units_tell_what_a_number_is(volts: float, amps: float, watts: float, order: list[int]) -> None:
    parts = [f"{volts:.2f}V", f"{amps:.2f}A", f"{watts:.2f}W"]
    reading = parse_reading(" ".join(parts[i] for i in order))
    assert (reading.voltage, reading.current, reading.power) == (volts, amps, watts)
    assert "-0.0" not in (str(reading.voltage), str(reading.current), str(reading.power))


@given(st.text(max_size=60))
def test_any_text_is_a_reading_or_refused(text: str) -> None:
    try:
        parse_reading(text)
    except ValueError as e:
        assert "expected volts, amperes and watts" in str(e)


@given(st.sampled_from(list(FIELDS)), st.text(st.characters(blacklist_characters="\0", codec="utf-8"), max_size=300))
def test_settings_survive_or_are_refused(key: Key, value: str) -> None:
    if len(value.encode()) > FIELDS[key]:
        with pytest.raises(ValueError, match="has room for"):
            encode_field(key, value)
    else:
        assert decode_field(encode_field(key, value).ljust(FIELDS[key], b"\0")) == value


def test_length_of_a_sequence_is_the_sum_of_its_waits() -> None:
    assert sequence_seconds("p1,bL,w110,bZ") == 11
    assert sequence_seconds("p1,aL,rL,w1,rZ,w1,aZ") == pytest.approx(0.2)
    assert sequence_seconds("p1") == sequence_seconds("") == sequence_seconds("w") == 0


def test_version_is_the_first_word() -> None:
    assert parse_version("0.09 git-ref: 4617689f7c8e") == "0.09"
    assert parse_version("") == ""


class ShellBehind:
    """A port whose far side is a DUT that echoes, behind the firmware's console mode; it answers in small pieces."""

    line = None
    is_quick = True

    def __init__(self, take: int) -> None:
        self.take, self.dut, self.answers = take, b"", bytearray()
        self.count, self.in_shell, self.typed = 0, False, b""

    def write(self, data: memoryview) -> int:
        part = bytes(data[: self.take])
        if self.in_shell:
            self.typed += part
            self.answers += part
            if self.typed.endswith(b"console\r"):
                self.in_shell, self.typed = False, b""
                self.answers += BACK
            return len(part)
        for byte in part:
            self.count = self.count + 1 if byte == 2 else 0
            if self.count == 5:
                self.count, self.in_shell = 0, True
        self.dut += part
        self.answers += part
        if self.in_shell:
            self.answers += LEFT
        return len(part)

    def read(self) -> bytes:
        part = bytes(self.answers[: self.take])
        del self.answers[: self.take]
        return part

    def fileno(self) -> int:
        return -1

    def wait_readable(self, seconds: float | None) -> bool:
        return True

    def wait_writable(self, seconds: float) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


@given(st.lists(st.sampled_from([b"\x02", b"\x02\x02\x02", b"a", b"#> ", b"\r\n"]), max_size=30), st.integers(8, 40))
def test_no_byte_is_lost_and_no_shell_is_seen(pieces: list[bytes], take: int) -> None:
    sent, far = b"".join(pieces), ShellBehind(take)
    port = TransparentPort(far)
    seen, rest = b"", memoryview(sent)
    while rest or far.answers:
        rest = rest[port.write(rest) :] if rest else rest
        seen += port.read()
    port.close()
    assert far.dut == sent
    assert not far.in_shell
    assert seen == sent  # the DUT's echo, and nothing of the shell's
