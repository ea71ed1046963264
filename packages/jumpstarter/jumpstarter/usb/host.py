"""The USB of one machine: this one, or one that is emulated."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .listing import UsbDevice, read_device, read_devices
from .rules import GROUP


@dataclass(frozen=True)
class UsbHost:
    """Where devices are listed, where their nodes are, and who carries requests.

    An emulated bus puts other directories and another backend of pyusb here; nothing else changes.
    """

    sysfs: Path = Path("/sys")
    dev: Path = Path("/dev")
    backend: Any = None
    """Backend of pyusb; None: libusb."""
    store: Callable[[Path, str], object] = Path.write_text
    """Writes a file of sysfs, which the kernel takes for a command."""

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

    def set(self, file: Path, value: str) -> None:
        """Write a file of sysfs; PermissionError says how to be allowed to, OSError what the kernel refused."""
        try:
            self.store(file, value)
        except PermissionError as e:
            raise PermissionError(
                f"no permission to write {file}; give it to group {GROUP} by a rule of `jmp driver udev`"
            ) from e
        except OSError as e:
            raise OSError(f"the kernel refuses {value!r} for {file}: {(e.strerror or str(e)).lower()}") from e

    def restart(self, device: UsbDevice) -> None:
        """Let the kernel take a device out of use and into use again, with all its drivers; of a hub, all behind it.

        The device keeps its supply. That helps where a driver gave up on it, not where its firmware hangs.
        """
        for value in ("0", "1"):
            self.set(device.path / "authorized", value)

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

    def is_given_up(self, disk: Path) -> bool:
        """Whether the kernel has stopped using a disk that did not answer (its SCSI device is offline)."""
        state = self.sysfs / "class/block" / Path(os.path.realpath(disk)).name / "device/state"
        return state.exists() and state.read_text().strip() == "offline"

    def owner(self, part: Path) -> UsbDevice | None:
        """The USB device that something in sysfs is a part of; None if it is on no USB."""
        with suppress(OSError):
            for directory in part.resolve(strict=True).parents:
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
