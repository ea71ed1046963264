"""What a device is found by again, and what to know of that: its own serial number, or its place."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .listing import UsbDevice


def twins_of(device: UsbDevice, devices: Iterable[UsbDevice]) -> list[UsbDevice]:
    """The devices of the same make that have the same serial number, itself among them."""
    same = (device.vendor, device.product, device.serial)
    return [other for other in devices if (other.vendor, other.product, other.serial) == same]


def about_serial(device: UsbDevice, twins: int) -> list[str]:
    """What a user has to know of a device whose serial number is missing, or that of so many."""
    if not device.serial:
        return ["it has no serial number: it is told by its port, and has to stay there"]
    if twins > 1:
        return [
            f"{twins} devices have the serial {device.serial}: they are told by their ports, and have to stay there"
        ]
    return []


def link_to(node: Path, folder: Path, *, by_serial: bool) -> Path | None:
    """The link of udev to a node, by serial number (`by-id`) or by place (`by-path`); None where there is none.

    `folder` is that of its kind, such as /dev/serial.
    """
    with suppress(OSError):
        for link in sorted((folder / ("by-id" if by_serial else "by-path")).iterdir()):
            if link.resolve() == node.resolve():
                return link
    return None
