"""How the generations of SDWire boards are told, and turned.

The first ones have an FT200X whose pin CBUS0 selects the side (FTDI AN_232R-01, "CBUS bit bang mode"), beside a card
reader on the board's own hub. The third is one Realtek reader, which lets go of the card when its driver is detached
and the device reset, and cannot be asked; or when it loses its supply, which the hub above it can be asked for.
"""

from __future__ import annotations

from typing import Any, Protocol

from jumpstarter.common.exceptions import DeviceAbsentError, DeviceFaultyError
from jumpstarter.usb import VENDOR, HubPort, UsbDevice, UsbLink, looks_like
from jumpstarter_driver_storage.common import Position

from .recovery import HINT, TIMEOUT, cut_supply, wait_for

PROGRAMMED = (0x04E8, 0x6001)
"""Ids of a provisioned FT200X. They are Samsung's; its product string tells which kind of board it is."""
PRODUCT_STRING = "sd-wire"
FACTORY = (0x0403, 0x6015)
"""Ids of the chip as it comes from FTDI, as in many serial cables."""
GENERATION_3 = (0x0BDA, 0x0316)
HUB, READER = (0x0424, 0x2640), (0x0424, 0x4050)
"""The hub of a board with an FT200X, and the card reader at its first port."""

SET_BIT_MODE, READ_PINS = 0x0B, 0x0C
CBUS_MODE = 0x20 << 8
TO_DUT, TO_HOST = CBUS_MODE | 0xF0, CBUS_MODE | 0xF1
"""Values of SET_BIT_MODE: all four pins are outputs; bit 0 is the level of CBUS0."""


is_ft200x = looks_like(ids=PROGRAMMED, name=PRODUCT_STRING)
"""Whether a device is the controller of a provisioned board."""
is_factory = looks_like(ids=FACTORY)
"""Whether a device is a chip that may be the controller of a board, or anything else of FTDI's."""
is_generation_3 = looks_like(ids=GENERATION_3)
"""Whether a device is a board of the third generation."""
is_reader = looks_like(ids=READER)
"""Whether a device is the card reader of a board with an FT200X, or another of its make."""
is_disk = looks_like(interface=(0x08, 0x06, 0x50))
"""Whether a device is a mass storage with the bulk-only transport."""


def is_sdwire(device: UsbDevice) -> bool:
    """Whether a device is a board, as far as its ids tell."""
    return is_ft200x(device) or is_generation_3(device)


class Board(Protocol):
    """One board."""

    def turn(self, position: Position, timeout: float) -> None:
        """Bring the card to the host or to the DUT. DeviceFaultyError where the board does not do it."""
        ...

    def position(self, timeout: float) -> Position:
        """Where the board says that the card is."""
        ...

    def reader(self) -> UsbDevice:
        """The device whose disk the card is, when it is at the host."""
        ...

    def is_reader_lost(self) -> bool:
        """Whether the reader has left the bus; DeviceAbsentError where what turns the card has, too."""
        ...

    def reader_port(self) -> str:
        """The USB port of the reader, also when that is not on the bus."""
        ...

    def own_hub(self) -> UsbDevice | None:
        """The hub that is a part of the board; None where it has none."""
        ...


class Ft200x:
    """A board of the first generations."""

    def __init__(self, link: UsbLink) -> None:
        self.link = link
        self._reader_port: str | None = None

    def turn(self, position: Position, timeout: float) -> None:
        value = TO_HOST if position is Position.HOST else TO_DUT
        with self.link.lock:
            self.link.write(
                SET_BIT_MODE, value, index=0, to=VENDOR, doing=f"bring the card to the {position}", timeout=timeout
            )
            found = self.position(timeout)
        if found is not position:
            raise DeviceFaultyError(
                f"{self.link.device()}: told to bring the card to the {position}, its pins still say {found}",
                "provision the board: its EEPROM has to make CBUS0 a GPIO",
            )

    def position(self, timeout: float) -> Position:
        pins = self.link.read(READ_PINS, 0, 1, index=0, to=VENDOR, doing="read its pins", timeout=timeout)
        if not pins:
            raise DeviceFaultyError(f"{self.link.device()}: its pins cannot be read", "plug it in again")
        return Position.HOST if pins[0] & 1 else Position.DUT

    def reader(self) -> UsbDevice:
        device = self.link.device()
        disks = [other for other in self.link.host.siblings(device) if is_disk(other)]
        readers = [disk for disk in disks if is_reader(disk)] or disks
        if not readers:
            raise DeviceAbsentError(
                f"{device}: its card reader is not there, beside it on hub {device.path.parent.name}",
                "plug the board in again",
            )
        if len(readers) > 1:
            raise DeviceFaultyError(
                f"{device}: {len(readers)} card readers are beside it on hub {device.path.parent.name}, and none is "
                f"taken on a guess: {'; '.join(f'[{reader}]' for reader in readers)}",
                "set storage_device",
            )
        self._reader_port = readers[0].port
        return readers[0]

    def is_reader_lost(self) -> bool:
        port, there = self._reader_port, {device.port for device in self.link.host.devices()}
        if port is None or port in there:
            return False
        self.link.device()  # else the whole board was unplugged
        return True

    def reader_port(self) -> str:
        if self._reader_port is not None:
            return self._reader_port
        if (hub := self.own_hub()) is not None:
            return f"{hub.port}.1"
        return self.reader().port

    def own_hub(self) -> UsbDevice | None:
        hub = self.link.host.parent(self.link.device())
        return hub if hub is not None and (hub.vendor, hub.product) == HUB else None


class Generation3:
    """A board of the third generation. Where its card is, is concluded from whether the kernel's driver is bound."""

    def __init__(self, link: UsbLink) -> None:
        self.link = link
        self._port = link.device().port

    def turn(self, position: Position, timeout: float) -> None:
        wanted = position is Position.HOST

        def turn(handle: Any) -> None:
            if handle.is_kernel_driver_active(0) != wanted:
                (handle.attach_kernel_driver if wanted else handle.detach_kernel_driver)(0)
            handle.reset()

        with self.link.lock:
            self.link.call(f"bring the card to the {position}", turn, timeout)
            self.link.let_go()  # after a reset the handle may lead nowhere

    def position(self, timeout: float) -> Position:
        with self.link.lock:
            bound = self.link.call("ask for its driver", lambda handle: handle.is_kernel_driver_active(0), timeout)
        return Position.HOST if bound else Position.DUT

    def reader(self) -> UsbDevice:
        return self.link.device()

    def is_reader_lost(self) -> bool:
        return all(device.port != self._port for device in self.link.host.devices())

    def reader_port(self) -> str:
        return self._port

    def own_hub(self) -> UsbDevice | None:
        return None


class Generation3BySupply:
    """A board of the third generation that has the card at the DUT while its own USB port has no supply.

    It is invisible then, and known by its port alone. Its port says where the card is.
    """

    def __init__(self, link: UsbLink, port: str) -> None:
        self.link = link
        self._place = HubPort(port)

    def check(self, timeout: float) -> None:
        """Raise DeviceFaultyError where the hub cannot do that, DeviceAbsentError where the port has something else."""
        if (why := self._place.why_fixed(timeout)) is not None:
            raise DeviceFaultyError(why, "plug the board into a hub that switches its ports one by one")
        if self._place.device() is not None:
            self.link.device()

    def turn(self, position: Position, timeout: float) -> None:
        is_powered = self._place.is_powered(timeout)
        if position is Position.DUT:
            if is_powered:
                self.link.device()  # nothing else loses its supply
                cut_supply(self._place)
            return
        if not is_powered:
            self._place.power(True, timeout)
            wait_for(self._place, "it was switched on")
        elif self._place.device() is None:
            raise DeviceAbsentError(
                f"{self._place} has its supply, and no card reader answers there", f"recover; {HINT}"
            )
        self.link.device()

    def position(self, timeout: float) -> Position:
        return Position.HOST if self._place.is_powered(timeout) else Position.DUT

    def reader(self) -> UsbDevice:
        return self.link.device()

    def is_reader_lost(self) -> bool:
        return self._place.device() is None and self._place.is_powered(TIMEOUT)

    def reader_port(self) -> str:
        return self._place.port

    def own_hub(self) -> UsbDevice | None:
        return None


def board_at(link: UsbLink) -> Board:
    """What turns the board that a link leads to."""
    return Generation3(link) if is_generation_3(link.device()) else Ft200x(link)
