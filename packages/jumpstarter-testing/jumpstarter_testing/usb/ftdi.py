"""An FT230X, the USB serial adapter on many boards, as ftdi_sio of the kernel sees it.

Requests as in the kernel's ftdi_sio.h; a packet to the host has two bytes of modem and line status before the data.
"""

from .device import BULK, VENDOR_IN, VENDOR_OUT, EmulatedDevice, Request, StallError, interface

MODEM_CONTROL, SET_DATA, SET_LATENCY, GET_LATENCY = 0x01, 0x04, 0x09, 0x0A

_STATUS = b"\x01\x60"
"""No modem line is active, and the transmitter is empty."""

_PACKET = 62
_BREAK = 1 << 14


class FtdiAdapter(EmulatedDevice):
    """A serial adapter: `say` is its far end, which remembers what it `heard` and the lines that were set."""

    vendor, product, version = 0x0403, 0x6015, 0x1000
    manufacturer, name = "FTDI", "FT230X Basic UART"
    interfaces = interface(0, (0xFF, 0xFF, 0xFF), [(0x81, BULK, 64), (0x02, BULK, 64)])

    def __init__(self, serial: str = "FT000001") -> None:
        super().__init__(serial)
        self.heard = bytearray()
        self.echoes = False
        """Whether the far end sends back what it hears."""
        self.lines: list[str] = []
        """What became of the lines, in order: `dtr 1`, `rts 0`, `break 1`."""
        self.latency = 16
        """Milliseconds for which it keeps few bytes from the host."""

    def say(self, data: bytes) -> None:
        """Let the far end send bytes."""
        for start in range(0, len(data), _PACKET):
            self.send(1, _STATUS + data[start : start + _PACKET])

    def received(self, endpoint: int, data: bytes) -> None:
        self.heard += data
        if self.echoes:
            self.say(data)

    def control(self, request: Request) -> bytes:
        if request.kind == VENDOR_OUT:
            if request.request == MODEM_CONTROL:
                for bit, name in ((0, "dtr"), (1, "rts")):
                    if request.value >> 8 & 1 << bit:
                        self.lines.append(f"{name} {request.value >> bit & 1}")
            elif request.request == SET_DATA:
                self.lines.append(f"break {int(bool(request.value & _BREAK))}")
            elif request.request == SET_LATENCY:
                self.latency = request.value & 0xFF
            return b""
        if request.kind == VENDOR_IN:
            if request.request == GET_LATENCY:
                return bytes((self.latency,))
            match request.request:
                case 0x05:  # MODEM_STATUS
                    return _STATUS
                case 0x90:  # READ_EEPROM
                    return bytes(2)
                case _:
                    pass
        raise StallError
