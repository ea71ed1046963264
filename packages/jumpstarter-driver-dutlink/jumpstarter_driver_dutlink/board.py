"""A DUTLink, shared by all drivers of this process that use it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from jumpstarter.common.exceptions import DeviceFaultyError
from jumpstarter.usb import INTERFACE, VENDOR, Shared, UsbDevice, UsbLink

from .drain import drain
from .protocol import (
    ACTIONS,
    ALL_READINGS,
    BOOTLOADER,
    CONFIG,
    CONTROL,
    FIELDS,
    LEVELS,
    PINS,
    POSITIONS,
    POWER,
    READ,
    REFRESH,
    SET,
    STORAGE,
    VERSION,
    Action,
    Key,
    Level,
    Pin,
    Position,
    Reading,
    decode_field,
    encode_field,
    firmware,
    parse_reading,
    parse_version,
    sequence_seconds,
)

T = TypeVar("T")

logger = logging.getLogger(__name__)

SLACK = 5.0
"""Seconds beyond the length of a power sequence that the board has to answer again."""

IS_POWERED = 0.5
"""Volts from which on the DUT's supply counts as connected."""


class Board:
    """Requests to a DUTLink, each a whole: nobody else's come between its steps. Methods block; timeouts in seconds."""

    def __init__(self, link: UsbLink) -> None:
        self.link = link
        self.disk: Path | None = None
        """The disk of its storage when that was at the host last."""
        self.other_disks: frozenset[Path] = frozenset()
        """Disks of the host that were there while its storage was not."""
        self.proven: set[Path] = set()
        """Names of disks that were not there while its storage was off, so that they can be its storage."""
        self._position: Position | None = None
        self._returns = 0

    def device(self) -> UsbDevice:
        """The board, in a state in which it takes requests.

        Raises DeviceAbsentError where it is not there, DeviceFaultyError where it waits in its bootloader or has
        firmware without the control interface.
        """
        device = self.link.device()
        if device.interface(*CONTROL) is not None:
            return device
        if device.interface(*BOOTLOADER) is not None:
            raise DeviceFaultyError(
                f"{device}: the board is in DFU mode and waits for firmware",
                "press its reset button, or flash firmware to it",
            )
        raise DeviceFaultyError(
            f"{device}: firmware {firmware(device)} has no control interface",
            "update the board's firmware to 0.08 or newer",
        )

    def version(self, timeout: float) -> str:
        """The version of the firmware."""
        return parse_version(self._read(READ, VERSION, 128, "read its version", timeout).decode(errors="replace"))

    def reading(self, timeout: float) -> Reading:
        """The meter's mean of the last 2 seconds."""
        with self.link.lock:
            self._refresh("measure", timeout)
            text = self._read(READ, ALL_READINGS, 128, "measure", timeout).decode(errors="replace")
        try:
            return parse_reading(text)
        except ValueError as e:
            raise DeviceFaultyError(f"{self.link.device()}: its meter says {e}", "check the board's firmware") from e

    def sequence(self, action: Action, timeout: float) -> str:
        """The sequence that the board runs for a power action; empty where it just moves the switch."""
        keys: dict[Action, Key] = {"on": "power_on", "off": "power_off", "rescue": "power_rescue"}
        return self.field(keys[action], timeout) if action in keys else ""

    def power(self, action: Action, timeout: float) -> None:
        """Switch the DUT's supply, or let the board run the sequence that it has for that, and wait for its end."""
        doing = f"switch power {action}"
        with self.link.lock:
            length = sequence_seconds(self.sequence(action, timeout))  # reading it is the refresh that 0.08 needs
            self._write(POWER, ACTIONS.index(action), b"", doing, timeout)
            try:
                # answered when the sequence has ended
                self._refresh(f"finish {doing!r}", max(timeout, length + SLACK))
            except TimeoutError as e:
                raise TimeoutError(f"{e}; its power sequence takes {length:g} s, and may still be running") from e

    def is_powered(self, timeout: float) -> bool:
        """Whether the DUT has its supply, concluded from the voltage, which follows a change within 2 seconds."""
        return self.reading(timeout).voltage >= IS_POWERED

    @property
    def position(self) -> Position | None:
        """What the mux was told last, by whichever driver; None where that is not known. A board that was away is off.

        The board itself does not tell.
        """
        with self.link.lock:
            self.device()
            if self._returns != self.link.returns:
                self._returns, self._position = self.link.returns, "off"
                self.proven.clear()
            return self._position

    def forget_position(self) -> None:
        """The mux may not be where it was told to be."""
        self._position = None

    def storage(self, position: Position, timeout: float) -> None:
        """Set the mux, at once."""
        with self.link.lock:
            self.forget_position()
            self._write(STORAGE, POSITIONS.index(position), b"", f"set the storage mux to {position}", timeout)
            self._returns, self._position = self.link.returns, position

    def pin(self, pin: Pin, level: Level, timeout: float) -> None:
        """Drive a control pin. High takes effect while the DUT is on, or when it is switched on."""
        data = bytes([LEVELS.index(level)])
        self._write(SET, PINS.index(pin), data, f"set pin {pin} to {level}", timeout)

    def field(self, key: Key, timeout: float) -> str:
        """A value of the board's own configuration."""
        with self.link.lock:
            self._refresh("read its configuration", timeout)
            return self._field(key, timeout)

    def fields(self, timeout: float) -> dict[Key, str]:
        """The board's own configuration."""
        with self.link.lock:
            self._refresh("read its configuration", timeout)
            return {key: self._field(key, timeout) for key in FIELDS}

    def set_field(self, key: Key, value: str, timeout: float) -> None:
        """Write a value of the board's configuration to its flash, unless it is there, and read it back."""
        data = encode_field(key, value)
        with self.link.lock:
            if self.field(key, timeout) == value:
                return
            self._write(CONFIG, list(FIELDS).index(key), data, f"write {key} of its configuration", timeout)
            if (found := self.field(key, timeout)) != value:
                raise DeviceFaultyError(
                    f"{self.link.device()}: {key} is {found!r} after it was set to {value!r}",
                    "check the board's firmware",
                )

    def _field(self, key: Key, timeout: float) -> str:
        number = list(FIELDS).index(key)
        return decode_field(self._read(CONFIG, number, FIELDS[key], "read its configuration", timeout))

    def _refresh(self, doing: str, timeout: float) -> None:
        self._write(REFRESH, 0, b"", doing, timeout)

    def _write(self, request: int, value: int, data: bytes, doing: str, timeout: float) -> None:
        def write() -> None:
            self.link.write(
                request, value, data, index=self._index(), to=VENDOR | INTERFACE, doing=doing, timeout=timeout
            )

        with self.link.lock:
            if request == POWER:  # never twice; the reading before it has found out whether the board answers
                write()
            else:
                self._unwedging(write)

    def _read(self, request: int, value: int, length: int, doing: str, timeout: float) -> bytes:
        def read() -> bytes:
            return self.link.read(
                request, value, length, index=self._index(), to=VENDOR | INTERFACE, doing=doing, timeout=timeout
            )

        with self.link.lock:
            return self._unwedging(read)

    def _unwedging(self, request: Callable[[], T]) -> T:
        """Make a request that may be made twice; where nothing answers, once more after its tty was read empty.

        The firmware answers nothing while its shell waits for somebody who reads what it said.
        """
        try:
            return request()
        except TimeoutError:
            if not (count := sum(drain(tty) for tty in self.link.host.ttys(self.device()))):
                raise
            logger.warning("%s: did not answer; %d unread bytes were taken from its tty", self.device(), count)
        try:
            return request()
        except TimeoutError as e:
            raise TimeoutError(f"{e}, also after its tty was read; plug it in again") from e

    def _index(self) -> int:
        control = self.device().interface(*CONTROL)
        assert control is not None
        return control.number


boards = Shared(Board)
"""The boards that drivers of this process use."""
