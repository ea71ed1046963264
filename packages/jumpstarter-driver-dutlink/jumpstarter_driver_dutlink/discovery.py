"""DUTLinks on this host, for `jmp discover`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jumpstarter.driver.discovery import Found
from jumpstarter.usb import UsbDevice, about_serial, current_host, has_own_serial

from .protocol import BOOTLOADER, CONTROL, firmware, is_dutlink


def discover() -> Iterator[Found]:
    """Each board, by its serial, or by its port where that is not its own."""
    boards = [device for device in current_host().devices() if is_dutlink(device)]
    for device in boards:
        config: dict[str, Any] = {"serial": device.serial} if device.serial else {}
        if not has_own_serial(device, boards):
            config["port"] = device.port
        yield Found(
            name="dutlink",
            type="jumpstarter_driver_dutlink.driver.Dutlink",
            title=f"DUTLink, firmware {firmware(device)}, at USB port {device.port}",
            config=config,
            warnings=tuple(_warnings(device, boards)),
            device=device.port,
        )


def _warnings(device: UsbDevice, boards: list[UsbDevice]) -> Iterator[str]:
    yield from about_serial(device, boards)
    if device.interface(*BOOTLOADER) is not None:
        yield "it is in DFU mode and waits for firmware: press its reset button"
    elif device.interface(*CONTROL) is None:
        yield f"firmware {firmware(device)} has no control interface: update it to 0.08 or newer"
    if len(boards) > 1:
        yield "of several boards, each needs storage_device, the link of its disk in /dev/disk/by-id or by-path"
