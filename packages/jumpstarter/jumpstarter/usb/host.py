"""The USB of one machine: this one, or one that is emulated."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .listing import UsbDevice, read_device, read_devices


@dataclass(frozen=True)
class UsbHost:
    """Where devices are listed, where their nodes are, and who carries requests.

    An emulated bus puts other directories and another backend of pyusb here; nothing else changes.
    """

    sysfs: Path = Path("/sys")
    dev: Path = Path("/dev")
    backend: Any = None
    """Backend of pyusb; None: libusb."""

    def devices(self) -> list[UsbDevice]:
        """All that is plugged in, hubs included."""
        return read_devices(self.sysfs)

    def again(self, device: UsbDevice) -> UsbDevice | None:
        """The device as it is now; None if it has left, also where something else is plugged in its place."""
        found = read_device(device.path)
        return found if found is not None and found.address == device.address else None

    def parent(self, device: UsbDevice) -> UsbDevice | None:
        """The hub that a device is plugged into; None for a root hub."""
        return read_device(device.path.parent)

    def siblings(self, device: UsbDevice) -> list[UsbDevice]:
        """The other devices on its hub."""
        return [
            other for other in self.devices() if other.path.parent == device.path.parent and other.path != device.path
        ]

    def node(self, device: UsbDevice) -> Path:
        """The file that requests to a device go through, whose permissions decide who may use it."""
        return self.dev / f"bus/usb/{device.bus:03d}/{device.address:03d}"

    def ttys(self, device: UsbDevice) -> list[Path]:
        """The serial ports of a device, in the order of its interfaces."""
        found = [*device.path.glob(f"{device.port}:*/tty/*"), *device.path.glob(f"{device.port}:*/ttyUSB*/tty/*")]
        return [self.dev / path.name for path in sorted(found)]

    def disks(self, device: UsbDevice) -> list[Path]:
        """The disks of a device, whole ones."""
        found = device.path.glob(f"{device.port}:*/host*/target*/*/block/*")
        return [self.dev / path.name for path in sorted(found)]

    def disk_device(self, disk: Path) -> UsbDevice | None:
        """The USB device that a disk belongs to, whatever link names it; None if it is on no USB."""
        real = Path(os.path.realpath(disk))
        with suppress(OSError):
            for directory in (self.sysfs / "class/block" / real.name).resolve(strict=True).parents:
                if (directory / "idVendor").exists():
                    return read_device(directory)
        return None


_current = UsbHost()


def current_host() -> UsbHost:
    """The USB that drivers use."""
    return _current


@contextmanager
def use_host(host: UsbHost) -> Generator[UsbHost]:
    """Let the drivers of this process use another USB meanwhile."""
    global _current  # drivers are made by configurations, which cannot hand it on
    before, _current = _current, host
    try:
        yield host
    finally:
        _current = before
