"""Drivers for the DUTLink, a board that has all that a device under test needs: power, storage, console, pins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export, sleep
from jumpstarter_driver_composite.driver import CompositeInterface
from jumpstarter_driver_serial.driver import PySerial

from .config import DutlinkConfig
from .console import DutlinkSerial
from .power import DutlinkPower
from .protocol import PINS, Key, Level, Pin
from .storage import DutlinkStorageMux

__all__ = ["Dutlink", "DutlinkConfig", "DutlinkPower", "DutlinkSerial", "DutlinkStorageMux"]

LONGEST_PRESS = 60.0


@dataclass(kw_only=True)
class Dutlink(CompositeInterface, DutlinkConfig):
    """A whole board: `power`, `storage` and `console` as children, and its control pins."""

    storage_device: str | None = None
    """The storage when the host has it, best by its link in /dev/disk/by-id; None: the disk that appears then."""

    storage_timeout: float = 10
    """Seconds until the storage has to be there after it was switched to the host."""

    storage_leeway: float = 6
    """Seconds that the storage gets after it was written."""

    storage_fsync_timeout: float = 900
    """Of no effect: it takes as long as it takes. Configurations may have it."""

    off_seconds: float = 2
    """Seconds without supply between two positions of the storage."""

    device_serial: str | None = None
    """Serial number that the storage has to have."""

    max_size_bytes: int | None = None
    """Largest storage that is taken for the right one."""

    verify: str = "full"
    """How much of what was written is read back and compared: full, sampled or off."""

    alternate_console: str | None = None
    """Serial port, as pySerial takes it, that the DUT's console is on in place of the board's; it may appear late."""

    baudrate: int = 115200
    """Rate of another console than the board's, which has 115200."""

    read_interval: float = 1.0
    """Seconds between two readings of `power.read`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.description = self.description or "DUTLink board"
        self._add("power", DutlinkPower, "Switch and measure the DUT's supply", read_interval=self.read_interval)
        self._add(
            "storage",
            DutlinkStorageMux,
            "Flash the storage and move it between host and DUT",
            storage_device=self.storage_device,
            storage_timeout=self.storage_timeout,
            storage_leeway=self.storage_leeway,
            storage_fsync_timeout=self.storage_fsync_timeout,
            off_seconds=self.off_seconds,
            device_serial=self.device_serial,
            max_size_bytes=self.max_size_bytes,
            verify=self.verify,
        )
        self._add_console("console", "Use the DUT's serial console")

    @export(read_only=True)
    def version(self) -> str:
        """The version of the board's firmware."""
        return self.board().version(self.timeout_s)

    @export(read_only=True)
    def info(self) -> dict[str, str]:
        """Serial, USB port and firmware of the board, and whether the DUT has power, concluded from the voltage."""
        board = self.board()
        device = board.link.device()
        return {
            "serial": device.serial,
            "port": device.port,
            "firmware": board.version(self.timeout_s),
            "power": "on" if board.is_powered(self.timeout_s) else "off",
        }

    @export
    def set_pin(self, pin: Pin, level: Level) -> None:
        """Drive the pin reset, a, b, c or d: low, high or high-impedance.

        High takes effect while the DUT is on, otherwise when it is switched on. It is 3.3 V, which can damage a DUT of
        lower voltage: prefer low and high-impedance.
        """
        self.board().pin(pin, level, self.timeout_s)
        self.logger.info("pin %s %s", pin, level)

    @export
    def press(self, pin: Pin, seconds: float = 0.2) -> None:
        """Pull a pin low for so many seconds, then let it float, as a button does."""
        if not 0 < seconds <= LONGEST_PRESS:
            raise ValueError(f"seconds must be more than 0 and at most {LONGEST_PRESS:g}, not {seconds}")
        board = self.board()
        board.pin(pin, "low", self.timeout_s)
        try:
            sleep(seconds)
        finally:
            board.pin(pin, "high-impedance", self.timeout_s)
        self.logger.info("pressed %s for %g s", pin, seconds)

    @export
    def release_pins(self) -> None:
        """Let all pins float."""
        board = self.board()
        for pin in PINS:
            board.pin(pin, "high-impedance", self.timeout_s)
        self.logger.info("all pins float")

    @export(read_only=True)
    def settings(self) -> dict[str, str]:
        """What the board has in its flash: name, tags, usb_console, and its sequences for on, off and rescue."""
        return {str(key): value for key, value in self.board().fields(self.timeout_s).items()}

    @export
    def set_setting(self, key: Key, value: str) -> None:
        """Write a value to the board's flash, unless it is there: name, tags, usb_console, power_on, power_off, ..."""
        self.board().set_field(key, value, self.timeout_s)
        self.logger.info("%s of the board is %r", key, value)

    def _add_console(self, name: str, description: str) -> None:
        if self.alternate_console is None:
            self._add(name, DutlinkSerial, description, baudrate=self.baudrate)
            return
        # a port that the DUT has itself is there while it has power, which it gets when a user wants that
        self._put(
            name,
            PySerial(
                url=self.alternate_console,
                baudrate=self.baudrate,
                check_present=False,
                description=description,
                log_level=self.log_level,
            ),
        )

    def _add(self, name: str, part: Callable[..., Driver], description: str, **config: object) -> None:
        own = {"serial": self.serial, "port": self.port, "timeout_s": self.timeout_s, "log_level": self.log_level}
        self._put(name, part(description=description, **own, **config))

    def _put(self, name: str, part: Driver) -> None:
        if name in self.children:
            raise ConfigurationError(f"the name {name!r} is taken by a part of the board; choose another")
        self.children[name] = part
