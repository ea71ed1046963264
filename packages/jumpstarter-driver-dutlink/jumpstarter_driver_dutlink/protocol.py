"""What the DUTLink understands, as numbers and texts.

From the firmware's source (jumpstarter dutlink-firmware 0.08 and 0.09): `ctlpins.rs`, `usbserial.rs`, `config.rs`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from jumpstarter.usb import UsbDevice, looks_like

is_dutlink = looks_like(ids=(0x2B23, 0x1012))
"""Whether a device is one, in whatever mode."""
CONTROL = (0xFF, 0x01, 0x01)
"""Class, subclass and protocol of the interface that takes the requests below; firmware has it since 0.08."""
BOOTLOADER = (0xFE, 0x01, 0x02)
SERIAL_DIGITS = 8

REFRESH, POWER, STORAGE, CONFIG, READ, SET = range(6)
"""Vendor requests. What IN requests return is from the last REFRESH."""

VERSION, ALL_READINGS = 0, 1
"""Values of READ."""

Action = Literal["off", "on", "force-off", "force-on", "rescue"]
ACTIONS: tuple[Action, ...] = ("off", "on", "force-off", "force-on", "rescue")

Position = Literal["off", "host", "dut"]
POSITIONS: tuple[Position, ...] = ("off", "host", "dut")

Pin = Literal["reset", "a", "b", "c", "d"]
PINS: tuple[Pin, ...] = ("reset", "a", "b", "c", "d")

Level = Literal["low", "high", "high-impedance"]
LEVELS: tuple[Level, ...] = ("low", "high", "high-impedance")

Key = Literal["name", "tags", "usb_console", "power_on", "power_off", "power_rescue"]
FIELDS: dict[Key, int] = {
    "name": 64,
    "tags": 256,
    "usb_console": 64,
    "power_on": 32,
    "power_off": 32,
    "power_rescue": 32,
}
"""Keys of the board's configuration, in the order of their numbers, and their sizes in bytes."""

SHORTEST = 0.05
"""Seconds between two readings, at least: the board samples every 10 ms."""


@dataclass(frozen=True)
class Reading:
    """What the meter has measured, on the DUT's side of the switch."""

    voltage: float
    current: float
    power: float
    """Watts: mean voltage by mean current."""


_READING = re.compile(r"(-?\d+(?:\.\d+)?)([VAW])(?=\s|$)")


def parse_reading(text: str) -> Reading:
    """A reading from `12.29W 12.05V 1.02A`; units tell which is which, since their order differs between commands."""
    found = {unit: float(number) + 0.0 for number, unit in _READING.findall(text)}  # + 0.0: no negative zero
    if found.keys() != {"V", "A", "W"}:
        raise ValueError(f"expected volts, amperes and watts, got {text[:80]!r}")
    return Reading(found["V"], found["A"], found["W"])


def parse_version(text: str) -> str:
    """The version from `0.09 git-ref: 4617689f7c8e`."""
    words = text.split()
    return words[0] if words else ""


_ORDER = re.compile(r"w(\d*)", re.IGNORECASE)


def sequence_seconds(sequence: str) -> float:
    """How long the board answers nothing while it runs a power sequence: `w` and a number are tenths of a second."""
    return sum(int(digits or 0) for digits in _ORDER.findall(sequence)) / 10


def encode_field(key: Key, value: str) -> bytes:
    """The bytes of a value of the board's configuration. Raises ValueError where it does not fit."""
    data = value.encode()
    if len(data) > FIELDS[key]:
        raise ValueError(f"{key} has room for {FIELDS[key]} bytes, and {value[:40]!r} has {len(data)}")
    if b"\0" in data:
        raise ValueError(f"{key} cannot have a NUL character")
    return data


def decode_field(data: bytes) -> str:
    """The text of a value, which is filled with NUL to its size."""
    return data.partition(b"\0")[0].decode(errors="replace")


def firmware(device: UsbDevice) -> str:
    """The version of its firmware, by bcdDevice."""
    return f"{device.version >> 8:x}.{device.version & 0xFF:02x}"
