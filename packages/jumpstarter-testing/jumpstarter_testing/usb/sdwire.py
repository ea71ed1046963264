"""SDWire boards: the FT200X of the first generations beside a card reader, and the Realtek reader of the third."""

import threading
from pathlib import Path

from .device import BULK, VENDOR_IN, VENDOR_OUT, EmulatedDevice, Request, StallError, interface
from .storage import CardReader, MassStorage

SET_BIT_MODE, READ_PINS, READ_EEPROM = 0x0B, 0x0C, 0x90
"""Vendor requests of FTDI's chips."""


class SdWireBoard(EmulatedDevice):
    """The FT200X that moves the card: CBUS0 high is the host, low the DUT. Its `reader` is plugged in beside it."""

    vendor, product = 0x04E8, 0x6001
    version = 0x1000
    manufacturer, name = "SRPOL", "sd-wire"
    interfaces = interface(0, (0xFF, 0xFF, 0xFF), [(0x81, BULK, 64), (0x02, BULK, 64)])

    def __init__(self, serial: str = "sd-wire_01", *, card: Path, reader_serial: str = "000000264001") -> None:
        super().__init__(serial)
        self.reader = CardReader(card, reader_serial, present=False)
        self.is_provisioned = True
        """Its EEPROM lets CBUS0 be switched; otherwise requests are accepted, and nothing moves."""
        self.is_stuck = False
        """The card stays where it is, whatever the pin says."""
        self.card_delay = 0.0
        """Seconds until the card is where it was told to be."""
        self._direction = self._levels = 0

    @property
    def side(self) -> str:
        """Where the card is."""
        return "host" if self.reader.is_present else "dut"

    def control(self, request: Request) -> bytes:
        if request.index not in (0, 1):
            raise StallError
        if request.kind == VENDOR_IN:
            answers = {READ_PINS: bytes([self._levels & self._direction]), READ_EEPROM: b"\0\0"}
            # and modem status and latency, which the kernel's driver asks for
            return answers.get(request.request, b"\x01\x60"[: request.length])
        if request.kind != VENDOR_OUT:
            raise StallError
        if request.request == SET_BIT_MODE and request.value >> 8 == 0x20 and self.is_provisioned:
            self._direction, self._levels = request.value >> 4 & 0xF, request.value & 0xF
            self._move()
        return b""

    def _move(self) -> None:
        if self.is_stuck:
            return
        if not self.card_delay:
            self._follow()
            return
        (timer := threading.Timer(self.card_delay, self._follow)).daemon = True
        timer.start()

    def _follow(self) -> None:
        self.reader.set_medium(bool(self._levels & self._direction & 1))


class FactorySdWireBoard(SdWireBoard):
    """The same with the ids that the chip has before it is provisioned, which any FTDI cable has, too."""

    vendor, product = 0x0403, 0x6015
    manufacturer, name = "FTDI", "FT200X USB I2C"


class SdWire3(MassStorage):
    """The third generation, one Realtek reader: the card is at the host while the kernel's driver uses it."""

    vendor, product = 0x0BDA, 0x0316
    version = 0x0204
    manufacturer, name = "Generic", "USB3.0-CRW"
    inquiry = b"Generic USB3.0 CRW   -SD1.00"

    def __init__(self, card: Path, serial: str = "20120501030900000") -> None:
        super().__init__(card, serial)
        self.follows_supply = False
        """The card is at the host while the reader has power, whoever uses it."""

    def unplugged(self) -> None:
        self.commands = 0

    @property
    def side(self) -> str:
        """Where the card is: at the DUT once the device was reset and nobody used the reader since."""
        if self.follows_supply:
            return "host" if self.port is not None else "dut"
        return "host" if self.commands else "dut"
