"""A driver for SDWire boards: an SD card that is either at the exporter's host or in a device."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from inspect import isawaitable
from pathlib import Path
from typing import Any

from anyio import from_thread
from jumpstarter.common.exceptions import (
    ConfigurationError,
    DeviceAbsentError,
    DeviceFaultyError,
    JumpstarterException,
)
from jumpstarter.driver import export, sleep
from jumpstarter.usb import UsbDevice, UsbLink, UsbMatch, text_of_serial
from jumpstarter_driver_storage.blockdevices import why_not_ready
from jumpstarter_driver_storage.common import Position, StorageError
from jumpstarter_driver_storage.medium import RECOVERIES
from jumpstarter_driver_storage.mux import StorageMux

from .boards import GENERATION_3, Board, Generation3BySupply, board_at, is_factory, is_generation_3, is_sdwire
from .recovery import bring_back

TIMEOUT = 5.0
"""Seconds that the board has to answer."""

LEAVING = 5.0
"""Seconds that the host has to notice that the card is gone; it looks every 2."""

NOTICING = 2.0
"""Seconds that the host has to notice that a reader is gone, once writing to it has failed."""

POLL = 0.1

POWER = "power"
"""Name of the child that is the DUT's supply."""


@dataclass(kw_only=True)
class SDWire(StorageMux):
    """An SDWire board. Its child `power`, a reference to the DUT's supply, is switched off before the card moves."""

    serial: str | int | None = None
    """Serial number of the controller; None: the only board there is. Boards of the third generation share theirs."""

    port: str | None = None
    """USB port that the board is plugged into, such as `1-4.2`; needed where several boards have the same serial."""

    port_power: bool = False
    """The card moves with the supply of the board's USB port, whose hub has to switch that, and `port` name it.

    For boards of the third generation that do not let go of the card otherwise.
    """

    recovery_seconds: float = 5
    """Seconds without a supply after which a reader that hangs starts anew."""

    storage_device: str | None = None
    """The card when the host has it; None: the disk of the reader that belongs to the board."""

    storage_timeout: float = 10
    """Seconds until the card has to be there after it was switched to the host."""

    storage_leeway: float = 6
    """Seconds that the card gets after it was written."""

    storage_fsync_timeout: float = 900
    """Of no effect: it takes as long as it takes. Configurations may have it."""

    _link: UsbLink = field(init=False, repr=False, compare=False)
    _is_forced: bool = field(default=False, init=False, repr=False, compare=False)
    _known: Board | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.serial = text_of_serial(self.serial)
        if others := sorted(self.children.keys() - {POWER}):
            raise ConfigurationError(f"SDWire takes the child {POWER!r}, not {', '.join(others)}")
        if self.port_power and self.port is None:
            raise ConfigurationError("port_power needs port: without its supply the board is known by nothing else")
        if self.recovery_seconds < 0:
            raise ConfigurationError(f"recovery_seconds must be 0 or more, not {self.recovery_seconds}")
        self._link = UsbLink(
            UsbMatch(
                kind="SDWire",
                is_kind=self._is_board,
                serial=self.serial,
                port=self.port,
                hint="check its cable; a board that was never provisioned needs its serial in the configuration",
            )
        )

    def _is_board(self, device: UsbDevice) -> bool:
        if self.port_power:
            return is_generation_3(device)
        # a chip with factory ids may be any cable of FTDI's: it counts only where it is named
        return is_sdwire(device) or (is_factory(device) and self.serial is not None and device.serial == self.serial)

    # the board

    def board(self) -> Board:
        """The board; raises why it cannot be used."""
        if self.port_power and self.port is not None:
            if self._known is None:
                board = Generation3BySupply(self._link, self.port)
                board.check(TIMEOUT)
                self._known = board
            return self._known
        self._link.device()
        if self._known is None:
            self._known = board_at(self._link)
        return self._known

    def identity(self) -> str:
        """The board, by its serial; those that share it, by their port."""
        if self.port_power:
            return f"usb:{GENERATION_3[0]:04x}:{GENERATION_3[1]:04x}:port-{self.port}"
        device = self._link.device()
        twins = [other for other in self._link.host.devices() if other.identity == device.identity]
        return device.identity if len(twins) == 1 else f"usb:{device.ids}:port-{device.port}"

    def reset(self) -> None:
        """Look whether the board is there; it is left as it is."""
        self.board()
        super().reset()

    def close(self) -> None:
        """Let go of the board, as it is."""
        self._link.let_go()
        super().close()

    # the mux

    def switch(self, position: Position) -> None:
        """Bring the card to a side, and look whether it is there. The board has no third one: `off` is the host."""
        side = Position.DUT if position is Position.DUT else Position.HOST
        board = self.board()
        if board.position(TIMEOUT) is not side and not self._is_forced:
            self._power_off()
        board.turn(side, TIMEOUT)
        self.logger.info("card to the %s", side)
        if side is Position.DUT:
            self._wait_until_gone()

    def position(self) -> Position:
        """What the board says, read back from its pins; of the third generation, concluded from the bound driver."""
        return self.board().position(TIMEOUT)

    @export
    def host(self, force: bool = False) -> None:
        """Bring the card to the host; the DUT's supply, where it is named, is switched off first unless `force`."""
        with self._forcing(force):
            super().host()

    @export
    def dut(self, force: bool = False) -> None:
        """Bring the card to the DUT; its supply, where it is named, is switched off first unless `force`."""
        with self._forcing(force):
            super().dut()

    @export
    def off(self) -> None:
        """Bring the card to the host, since there is no third side: the device does not have it then."""
        self.switch(Position.OFF)  # it stays mounted where it is

    @export
    def recover(self) -> str:
        """Bring back a card reader that hangs or has left the bus; returns what was done.

        Its supply is cut for a while where its hub can do that, otherwise the kernel starts it anew. The card is at the
        host then. A flash does so itself.
        """
        board = self._known or self.board()  # of the third generation, the board itself may be what is lost
        if not board.is_reader_lost() and board.position(TIMEOUT) is Position.DUT:
            raise StorageError(
                "the card is with the DUT, and its reader is of no use now", "bring it to the host first"
            )
        done = bring_back(self._link.host, board.reader_port(), board.own_hub(), self.recovery_seconds)
        self.logger.warning("%s", done)
        return done

    def revive(self, offset: int, attempt: int) -> Path | None:
        """Bring back the reader where it has left the bus, or the kernel has given it up, in the middle of a flash."""
        if not self._is_lost():
            return None
        self.logger.warning(
            "the card reader left the bus at byte %d; recovering (%d of %d)", offset, attempt, RECOVERIES
        )
        try:
            self.recover()
            return self._card_again()
        except (JumpstarterException, OSError) as e:
            raise StorageError(
                f"the card reader left the bus at byte {offset}, and could not be brought back: {e}",
                "see that it is there, and write the image again",
            ) from e

    def _is_lost(self) -> bool:
        """Whether the reader is gone, and the board is not."""
        end, board = time.monotonic() + NOTICING, self._known or self.board()
        while time.monotonic() < end:
            with suppress(DeviceAbsentError):  # the disk goes before the reader does
                if board.is_reader_lost() or self._link.host.is_given_up(self.medium()):
                    return True
            sleep(POLL)
        return False

    def _card_again(self) -> Path:
        end = time.monotonic() + self.storage_timeout
        while (path := self._present()) is None:
            if time.monotonic() > end:
                raise DeviceAbsentError(f"its card is not there within {self.storage_timeout:g} s")
            sleep(POLL)
        return path

    @contextmanager
    def _forcing(self, force: bool) -> Generator[None]:
        self._is_forced = force
        try:
            yield
        finally:
            self._is_forced = False

    def medium(self) -> Path:
        """The disk of the card."""
        if self.storage_device is not None:
            path = Path(self.storage_device)
            if not path.exists():
                raise DeviceAbsentError(f"{path} is not there", "check storage_device")
            return path
        reader = self.board().reader()
        disks = [disk for disk in self._link.host.disks(reader) if disk.exists()]
        if not disks:
            raise DeviceAbsentError(f"{reader}: there is no card at the host", "check that a card is in the board")
        if len(disks) > 1:
            raise DeviceFaultyError(
                f"{reader}: it has several disks: {', '.join(map(str, disks))}", "set storage_device"
            )
        return disks[0]

    def medium_key(self) -> str:
        """The board and the place of its card."""
        return f"{self.identity()} card"

    def _wait_until_gone(self) -> None:
        """A mux that does not move the card is seen by the card that stays."""
        end = time.monotonic() + LEAVING
        while (path := self._present()) is not None:
            if time.monotonic() > end:
                raise DeviceFaultyError(
                    f"{self._link.device()}: the card was brought to the DUT, and {path} is still at the host",
                    "check the board: its mux does not move the card",
                )
            time.sleep(POLL)

    def _present(self) -> Path | None:
        """The disk of the card, if the host has it."""
        try:
            path = self.medium()
        except DeviceAbsentError:
            return None
        return path if why_not_ready(path) is None else None

    def _power_off(self) -> None:
        """A device must not lose its card while it runs, nor find one that appears late."""
        power: Any = self.children.get(POWER)
        if power is None:
            return
        result = power.off()
        if isawaitable(result):
            from_thread.run(_finished, result)
        self.logger.info("the DUT's power was switched off, since the card moves")


async def _finished(result: Awaitable[Any]) -> None:
    await result
