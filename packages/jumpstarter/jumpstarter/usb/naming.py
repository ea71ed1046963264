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


def has_own_serial(device: UsbDevice, devices: Iterable[UsbDevice]) -> bool:
    """Whether a device is told from the others by its serial number. Cheap ones have none, or all the same."""
    return bool(device.serial) and len(twins_of(device, devices)) <= 1


def about_serial(device: UsbDevice, devices: Iterable[UsbDevice]) -> list[str]:
    """What a user has to know of a device whose serial number is missing, or that of others, too."""
    if not device.serial:
        return ["it has no serial number: it is told by its port, and has to stay there"]
    if (twins := len(twins_of(device, devices))) > 1:
        return [
            f"{twins} devices have the serial {device.serial}: they are told by their ports, and have to stay there"
        ]
    return []


def stable_link(node: Path, folder: Path, device: UsbDevice | None, devices: Iterable[UsbDevice]) -> Path | None:
    """The link of udev that leads to a node, and will lead to that of the same device; None where there is none.

    /dev/ttyUSB0 is whatever comes first. Links name the serial number (`by-id`), where that is the device's own, or the
    place (`by-path`). `folder` is that of the node's kind, such as /dev/serial; `device` is None for what is on no USB.
    """
    by_serial = device is not None and has_own_serial(device, devices)
    for kind in ("by-id", "by-path") if by_serial else ("by-path",):
        with suppress(OSError):
            for link in sorted((folder / kind).iterdir()):
                with suppress(OSError):
                    if link.resolve() == node.resolve():
                        return link
    return None
