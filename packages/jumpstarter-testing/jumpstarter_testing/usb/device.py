"""What every emulated device has: descriptors, standard requests, endpoints, and faults on demand."""

import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

LOW, FULL, HIGH, SUPER = 1, 2, 3, 5
"""Speeds, as USB/IP numbers them."""

BULK, INTERRUPT = 2, 3
"""Kinds of endpoints."""

VENDOR_OUT, VENDOR_IN = 0x40, 0xC0
"""bmRequestType of vendor requests to the device; those to an interface have bit 0 set."""


class StallError(Exception):
    """The device refuses a request."""


class HangError(Exception):
    """The device gives no answer to a request, as crashed firmware does."""


@dataclass(frozen=True)
class Request:
    """A control request that is not one of the standard ones."""

    kind: int
    """bmRequestType."""
    request: int
    value: int
    index: int
    data: bytes
    length: int

    @property
    def reads(self) -> bool:
        return bool(self.kind & 0x80)


def descriptor(kind: int, body: bytes) -> bytes:
    return bytes((len(body) + 2, kind)) + body


def interface(
    number: int, triple: tuple[int, int, int], endpoints: Iterable[tuple[int, int, int]] = (), extra: bytes = b""
) -> bytes:
    """The descriptors of an interface; endpoints are (address, kind, packet size), `extra` goes before them."""
    endpoints = list(endpoints)
    out = descriptor(4, bytes((number, 0, len(endpoints), *triple, 0))) + extra
    for address, kind, size in endpoints:
        out += descriptor(5, struct.pack("<BBHB", address, kind, size, 10 if kind == INTERRUPT else 0))
    return out


class Port(Protocol):
    """What a device is plugged into."""

    def flush(self, endpoint: int) -> None:
        """There is something to send on an IN endpoint."""


class EmulatedDevice:
    """A device. Subclasses say what it is and answer `control` and `received`, which any thread may call."""

    vendor = product = 0
    version = 0x0100
    """bcdDevice."""
    device_class = (0, 0, 0)
    manufacturer, name = "Emulated", "device"
    speed = FULL
    interfaces: bytes = b""
    """Descriptors, as of `interface`."""

    def __init__(self, serial: str = "0001") -> None:
        self.serial = serial
        self.requests: list[Request] = []
        """All but the standard ones, for tests."""
        self.faults: deque[Exception] = deque()
        """What the next requests fail with: StallError or HangError."""
        self.before: Callable[[Request], None] | None = None
        """Called with each request before the device does anything, such as to unplug it then."""
        self.port: Port | None = None
        self.free_at = 0.0
        """Until then (`time.monotonic`) the device answers nothing."""
        self.lock = threading.RLock()
        self.queued: defaultdict[int, deque[bytes]] = defaultdict(deque)
        """Data that the host has not fetched, by number of IN endpoint."""

    # for subclasses

    def control(self, request: Request) -> bytes:
        """Carry out a class or vendor request; returns the data of one that reads. Raises StallError to refuse it."""
        raise StallError

    def received(self, endpoint: int, data: bytes) -> None:
        """Take data of an OUT endpoint."""

    def powered_up(self) -> None:
        """The device is plugged in, with the state that it has then."""

    def unplugged(self) -> None:
        """It was unplugged."""

    def configured(self) -> None:
        """The host has chosen the configuration, as it does when the device is new or was reset."""

    # for transports

    def send(self, endpoint: int, data: bytes) -> None:
        """Queue data for an IN endpoint, by its number without the direction bit."""
        with self.lock:
            self.queued[endpoint].append(data)
        if (port := self.port) is not None:
            port.flush(endpoint)

    def busy(self) -> float:
        """Seconds until the device answers again."""
        return max(0.0, self.free_at - time.monotonic())

    def setup(self, setup: bytes, data: bytes) -> bytes:
        """Answer a request on endpoint 0."""
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        if not kind & 0x60:
            return self._standard(request, value, kind)
        made = Request(kind, request, value, index, data, length)
        self.requests.append(made)
        if self.before is not None:
            self.before(made)
        if self.faults:
            raise self.faults.popleft()
        with self.lock:
            return self.control(made)[:length]

    def _standard(self, request: int, value: int, kind: int) -> bytes:
        match request:
            case 6:
                return self.descriptor(value >> 8, value & 0xFF)
            case 9:
                self.configured()
                return b""
            case 0:
                return bytes(2)
            case 8:
                return b"\1"
            case 10:
                return b"\0"
            case _:
                return b""

    def descriptor(self, kind: int, index: int) -> bytes:
        """A descriptor; StallError where there is no such one."""
        match kind:
            case 1:
                ids = struct.pack("<HHH", self.vendor, self.product, self.version)
                strings = bytes((1, 2, 3 if self.serial else 0, 1))
                return descriptor(1, struct.pack("<H4B", 0x0200, *self.device_class, 64) + ids + strings)
            case 2:
                count = len({number for number, _ in self.numbered_interfaces()})
                head = struct.pack("<H5B", 9 + len(self.interfaces), count, 1, 0, 0x80, 50)
                return descriptor(2, head) + self.interfaces
            case 3:
                return self._string(index)
            case _:
                raise StallError

    def numbered_interfaces(self) -> list[tuple[int, tuple[int, int, int]]]:
        """Number and class, subclass, protocol of each interface."""
        found: list[tuple[int, tuple[int, int, int]]] = []
        data = self.interfaces
        while data:
            if data[1] == 4:
                found.append((data[2], (data[5], data[6], data[7])))
            data = data[data[0] :]
        return found

    def _string(self, index: int) -> bytes:
        if index == 0:
            return descriptor(3, b"\x09\x04")
        strings = ("", self.manufacturer, self.name, self.serial)
        if index >= len(strings) or not strings[index]:
            raise StallError
        return descriptor(3, strings[index].encode("utf-16-le"))
