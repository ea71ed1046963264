"""A backend of pyusb that has emulated devices: no kernel, no libusb, no privileges."""

import errno
import struct
import time
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import usb.backend  # pyright: ignore[reportMissingTypeStubs]
from usb.core import USBError, USBTimeoutError  # pyright: ignore[reportMissingTypeStubs]

from .device import EmulatedDevice, HangError, StallError

DEVICE_FIELDS = (
    "bLength bDescriptorType bcdUSB bDeviceClass bDeviceSubClass bDeviceProtocol bMaxPacketSize0 idVendor idProduct "
    "bcdDevice iManufacturer iProduct iSerialNumber bNumConfigurations"
)
CONFIGURATION_FIELDS = (
    "bLength bDescriptorType wTotalLength bNumInterfaces bConfigurationValue iConfiguration bmAttributes bMaxPower"
)

_Backend: Any = usb.backend.IBackend  # pyusb has no types


class Attachment:
    """A device where it is plugged in; a new one each time."""

    def __init__(self, device: EmulatedDevice, bus: int, address: int, port_numbers: tuple[int, ...]) -> None:
        self.device = device
        self.bus, self.address, self.port_numbers = bus, address, port_numbers
        self.is_there = True
        self.drivers: set[int] = set()
        """Interfaces that a kernel driver is bound to."""


class EmulatedBackend(_Backend):
    """What pyusb asks for; only control requests, resets, and drivers of the kernel that come and go."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.attached: list[Attachment] = []
        self.denied: set[EmulatedDevice] = set()
        """Devices that may not be opened."""
        self.on_driver: Callable[[Attachment, int, bool], None] | None = None
        """Called when a kernel driver lets go of an interface, or begins to use it, as it does after a reset."""

    def enumerate_devices(self) -> list[Attachment]:
        return list(self.attached)

    def get_device_descriptor(self, dev: Attachment) -> Any:
        values = struct.unpack("<BBHBBBBHHHBBBB", dev.device.descriptor(1, 0))
        where = {
            "bus": dev.bus,
            "address": dev.address,
            "port_number": dev.port_numbers[-1],
            "port_numbers": dev.port_numbers,
            "speed": dev.device.speed,
        }
        return SimpleNamespace(**dict(zip(DEVICE_FIELDS.split(), values, strict=True)), **where)

    def get_configuration_descriptor(self, dev: Attachment, config: int) -> Any:
        if config:
            raise IndexError
        values = struct.unpack("<BBHBBBBB", dev.device.descriptor(2, 0)[:9])
        return SimpleNamespace(**dict(zip(CONFIGURATION_FIELDS.split(), values, strict=True)), extra_descriptors=[])

    def open_device(self, dev: Attachment) -> Attachment:
        if dev.device in self.denied:
            raise USBError("Access denied (insufficient permissions)", -3, errno.EACCES)
        self._check(dev)
        return dev

    def close_device(self, dev_handle: Attachment) -> None:
        pass

    def get_configuration(self, dev_handle: Attachment) -> int:
        return 1

    def is_kernel_driver_active(self, dev_handle: Attachment, intf: int) -> bool:
        self._check(dev_handle)
        return intf in dev_handle.drivers

    def detach_kernel_driver(self, dev_handle: Attachment, intf: int) -> None:
        self._check(dev_handle)
        if intf not in dev_handle.drivers:
            raise USBError("Entity not found", -5, errno.ENOENT)
        dev_handle.drivers.discard(intf)
        self._tell(dev_handle, intf, False)

    def attach_kernel_driver(self, dev_handle: Attachment, intf: int) -> None:
        self._check(dev_handle)
        if intf in dev_handle.drivers:
            raise USBError("Resource busy", -6, errno.EBUSY)
        dev_handle.drivers.add(intf)
        self._tell(dev_handle, intf, True)

    def reset_device(self, dev_handle: Attachment) -> None:
        self._check(dev_handle)
        dev_handle.device.configured()
        for number in dev_handle.drivers:
            self._tell(dev_handle, number, True)

    def ctrl_transfer(
        self,
        dev_handle: Attachment,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: "array[int]",
        timeout: int,
    ) -> int:
        device, reads = dev_handle.device, bool(bmRequestType & 0x80)
        self._check(dev_handle)
        self._wait_until_free(dev_handle, timeout / 1000)
        setup = struct.pack("<BBHHH", bmRequestType, bRequest, wValue, wIndex, len(data))
        try:
            answer = device.setup(setup, b"" if reads else data.tobytes())
        except StallError:
            raise USBError("Pipe error", -9, errno.EPIPE) from None
        except HangError:
            self._time_out()
        finally:
            self._check(dev_handle)
        if not reads:
            return len(data)
        data[: len(answer)] = array(data.typecode, answer)
        return len(answer)

    def _wait_until_free(self, attachment: Attachment, timeout: float) -> None:
        end = time.monotonic() + timeout
        while busy := attachment.device.busy():
            self._check(attachment)
            if time.monotonic() >= end:
                self._time_out()
            time.sleep(min(busy, 0.01))

    def _check(self, attachment: Attachment) -> None:
        if not attachment.is_there:
            raise USBError("No such device (it may have been disconnected)", -4, errno.ENODEV)

    def _tell(self, attachment: Attachment, number: int, bound: bool) -> None:
        if self.on_driver is not None:
            self.on_driver(attachment, number, bound)

    def _time_out(self) -> NoReturn:
        raise USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
