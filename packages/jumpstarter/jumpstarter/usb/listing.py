"""What is plugged in, as the kernel lists it in sysfs: readable for everybody, without opening any device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PORT = re.compile(r"\d+-\d+(\.\d+)*|usb\d+")


@dataclass(frozen=True)
class UsbInterface:
    """One of the functions of a device."""

    number: int
    cls: int
    """bInterfaceClass."""
    subclass: int
    protocol: int
    driver: str = ""
    """Name of the kernel's driver that is bound to it; empty where there is none."""

    @property
    def triple(self) -> tuple[int, int, int]:
        """Class, subclass and protocol."""
        return self.cls, self.subclass, self.protocol


@dataclass(frozen=True)
class UsbDevice:
    """A device at the moment when it was listed. Plugged in again, the same one has another `address`."""

    path: Path
    """Its directory in sysfs."""

    port: str
    """Bus and ports that lead to it, such as `1-4.2`: the same as long as the cables are."""

    vendor: int
    product: int
    version: int
    """bcdDevice, as it stands: 0x0109 for release 1.09."""

    serial: str
    """Empty where it has none."""

    manufacturer: str
    name: str
    """Its product string."""

    bus: int
    address: int
    interfaces: tuple[UsbInterface, ...]

    @property
    def ids(self) -> str:
        """Vendor and product, such as `2b23:1012`."""
        return f"{self.vendor:04x}:{self.product:04x}"

    @property
    def identity(self) -> str:
        """What `Driver.identity()` returns for it: by its serial, where it has one, else by its port."""
        return f"usb:{self.ids}:{self.serial or f'port-{self.port}'}"

    def interface(self, *triple: int) -> UsbInterface | None:
        """The first interface with that class, subclass and protocol."""
        return next((interface for interface in self.interfaces if interface.triple == triple), None)

    def __str__(self) -> str:
        serial = f"serial {self.serial}" if self.serial else "no serial"
        return f"{self.name or 'device'} {self.ids}, {serial}, port {self.port}"


def read_devices(sysfs: Path) -> list[UsbDevice]:
    """All devices, hubs included, by port; one that leaves meanwhile is not among them."""
    found: list[UsbDevice] = []
    with suppress(FileNotFoundError):  # a kernel without USB
        for link in (sysfs / "bus/usb/devices").iterdir():
            if _PORT.fullmatch(link.name) and (device := read_device(link)) is not None:
                found.append(device)
    return sorted(found, key=lambda device: [int(number) for number in re.findall(r"\d+", device.port)])


def read_device(link: Path) -> UsbDevice | None:
    """The device behind a directory of sysfs; None if it is not there, not yet, or not whole any more."""
    try:
        path = link.resolve(strict=True)
        interfaces = tuple(_interfaces(path))
        if (count := _text(path / "bNumInterfaces")) and int(count) > len(interfaces):
            return None  # it is being plugged in or out
        return UsbDevice(
            path=path,
            port=path.name,
            vendor=_number(path / "idVendor"),
            product=_number(path / "idProduct"),
            version=_number(path / "bcdDevice"),
            serial=_text(path / "serial"),
            manufacturer=_text(path / "manufacturer"),
            name=_text(path / "product"),
            bus=_number(path / "busnum", 10),
            address=_number(path / "devnum", 10),
            interfaces=interfaces,
        )
    except (OSError, ValueError):  # it left while it was read
        return None


def _interfaces(path: Path) -> Iterator[UsbInterface]:
    for directory in sorted(path.glob(f"{prefix_of(path.name)}:*")):
        with suppress(FileNotFoundError):
            yield UsbInterface(
                number=_number(directory / "bInterfaceNumber"),
                cls=_number(directory / "bInterfaceClass"),
                subclass=_number(directory / "bInterfaceSubClass"),
                protocol=_number(directory / "bInterfaceProtocol"),
                driver=(directory / "driver").resolve().name if (directory / "driver").exists() else "",
            )


def prefix_of(port: str) -> str:
    """What the names of a device's interfaces begin with: its port, or that of a root hub, which is `1-0` of `usb1`."""
    return f"{port[3:]}-0" if port.startswith("usb") else port


def _number(path: Path, base: int = 16) -> int:
    return int(path.read_text(), base)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:  # a device without that string
        return ""
