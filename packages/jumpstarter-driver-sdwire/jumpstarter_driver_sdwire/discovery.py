"""SDWire boards on this host, for `jmp discover`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jumpstarter.driver.discovery import Found
from jumpstarter.usb import UsbDevice, UsbHost, about_serial, current_host, has_own_serial

from .boards import is_factory, is_generation_3, is_reader, is_sdwire


def discover() -> Iterator[Found]:
    """Each board, by its serial, or by its port where that is not its own."""
    host = current_host()
    boards = [device for device in host.devices() if is_sdwire(device) or _may_be(host, device)]
    for device in boards:
        by_port = is_generation_3(device) or not has_own_serial(device, boards)
        config: dict[str, Any] = {"port": device.port} if by_port else {"serial": device.serial}
        generation = "third generation" if is_generation_3(device) else "FT200X"
        yield Found(
            name="sdwire",
            type="jumpstarter_driver_sdwire.driver.SDWire",
            title=f"SDWire, {generation}, at USB port {device.port}",
            config=config,
            warnings=tuple(_warnings(device, boards)),
            device=device.port,
            parts=tuple(other.port for other in host.siblings(device) if is_reader(other)),
        )


def _may_be(host: UsbHost, device: UsbDevice) -> bool:
    """Whether a chip with factory ids is likely to be a board: it has the reader of one beside it."""
    return is_factory(device) and any(map(is_reader, host.siblings(device)))


def _warnings(device: UsbDevice, boards: list[UsbDevice]) -> Iterator[str]:
    if is_generation_3(device):
        yield "boards of the third generation share their serial: it is told by its port, and has to stay there"
    else:
        yield from about_serial(device, boards)
    if is_factory(device):
        yield "it was never provisioned, and turns only if its EEPROM makes CBUS0 a GPIO"
