"""Sticks and card readers of this host, for `jmp discover`: never a disk that the host may be using itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jumpstarter.driver.discovery import Found
from jumpstarter.usb import UsbDevice, UsbHost, about_serial, current_host, has_own_serial, stable_link

from .common import size_text
from .devices import BlockDevice, Rules, users_of_device

SECTOR = 512
"""Bytes of a block, as sysfs counts them."""


def discover(procfs: Path = Path("/proc")) -> Iterator[Found]:
    """Whole disks on USB whose medium can be taken out, and that nobody on the host uses.

    Left out are disks that are built in, those in USB cases, which say that they are fixed, and all of which a part is
    mounted, swapped to, or in a volume.
    """
    host = current_host()
    devices = host.devices()
    for device in devices:
        for disk in host.disks(device):
            folder = host.sysfs / "class/block" / disk.name
            if _number(folder / "removable") == 1 and not _is_used(host, folder, procfs):
                yield _found(host, device, devices, disk, _number(folder / "size") * SECTOR)


def _found(host: UsbHost, device: UsbDevice, devices: list[UsbDevice], disk: Path, size: int) -> Found:
    warnings = [*about_serial(device, devices), "see that it is the right one: flashing overwrites all that is on it"]
    link = stable_link(disk, host.dev / "disk", device, devices)
    if link is None:
        warnings.append("udev has made no stable link for it: its name is that of whatever is plugged in first")
    if not size:
        warnings.append("there is no medium in it now")
    config: dict[str, Any] = {"path": str(link or disk)}
    if has_own_serial(device, devices):
        config["device_serial"] = device.serial
    if size:
        config["max_size_bytes"] = size
    return Found(
        name="storage",
        type="jumpstarter_driver_storage.driver.FileStorage",
        title=f"{f'disk of {size_text(size)}' if size else 'card reader'} ({disk.name}), {device}",
        config=config,
        warnings=tuple(warnings),
        device=device.port,
        is_generic=True,
    )


def _is_used(host: UsbHost, folder: Path, procfs: Path) -> bool:
    """Whether the host uses a disk, or it is not known whether."""
    numbers = (folder / "dev").read_text().strip().split(":") if (folder / "dev").exists() else []
    if len(numbers) != 2:
        return True
    device = BlockDevice(os.makedev(int(numbers[0]), int(numbers[1])), host.sysfs)
    return bool(users_of_device(device, Rules(procfs=procfs)))


def _number(file: Path) -> int:
    return int(file.read_text()) if file.exists() else 0
