"""A hub that switches the supply of its ports, or does not (USB 2.0, 11.24)."""

import struct
from collections.abc import Callable
from typing import Literal

from .device import HIGH, INTERRUPT, EmulatedDevice, Request, StallError, descriptor, interface

GET_STATUS, CLEAR_FEATURE, SET_FEATURE, GET_DESCRIPTOR = 0, 1, 3, 6
PORT_POWER = 8
CONNECTED, POWERED = 1 << 0, 1 << 8

Switching = Literal["each", "together", "none"]
"""Which ports it can switch, as it says."""


class EmulatedHub(EmulatedDevice):
    """A hub, whose ports are numbered from 1."""

    vendor, product = 0x0424, 0x2640
    manufacturer, name = "", "USB 2.0 Hub"
    device_class = (9, 0, 1)
    speed = HIGH
    interfaces = interface(0, (9, 0, 0), [(0x81, INTERRUPT, 1)])

    def __init__(self, ports: int = 8) -> None:
        super().__init__("")
        self.switching: Switching = "each"
        self.is_honest = True
        """Ports that it says to have switched off have no supply."""
        self.resistance = 0
        """How often a port is switched on again that was asked to be off, as kernels before 6.0 do."""
        self.powered = set(range(1, ports + 1))
        """Ports that have a supply, as it says."""
        self.is_used: Callable[[int], bool] = lambda _number: False
        self.on_power: Callable[[int, bool], None] | None = None
        """Called when the supply of a port comes or goes."""
        self._ports = ports

    def control(self, request: Request) -> bytes:
        match request.kind, request.request:
            case 0xA0, 6 if request.value == 0x2900:
                mode = {"together": 0, "each": 1, "none": 2}[self.switching]
                return descriptor(0x29, struct.pack("<BHBB", self._ports, mode, 50, 0) + b"\0\xff")
            case 0xA0, 0:  # its own supply
                return bytes(4)
            case 0xA3, 0 if 1 <= request.index <= self._ports:
                return struct.pack("<HH", self._status(request.index), 0)
            case 0x23, 1 | 3 if request.value == PORT_POWER and 1 <= request.index <= self._ports:
                if request.request == CLEAR_FEATURE and self.resistance:
                    self.resistance -= 1
                else:
                    self.power(request.index, request.request == SET_FEATURE)
                return b""
            case 0x23, 1 if request.value > PORT_POWER:  # changes that the host has seen
                return b""
            case _:
                raise StallError

    def power(self, number: int, on: bool) -> None:
        """Switch the supply of a port."""
        if self.switching != "each" or (number in self.powered) == on:
            return
        (self.powered.add if on else self.powered.discard)(number)
        if self.on_power is not None and self.is_honest:
            self.on_power(number, on)

    def _status(self, number: int) -> int:
        return POWERED * (number in self.powered) | CONNECTED * self.is_used(number)
