"""The links that udev makes to nodes: by serial number and by place (60-serial.rules, 60-persistent-storage.rules)."""

import re
from pathlib import Path

from .device import EmulatedDevice


class UdevLinks:
    """Links in a directory that stands for /dev. As udev's, one for several devices leads to the last of them."""

    def __init__(self, dev: Path) -> None:
        self._dev = dev

    def add(self, kind: str, node: str, device: EmulatedDevice, port: str, tail: str) -> None:
        """Link to a node, of kind `serial` or `disk`; `tail` is what the names end with, such as `-if00`."""
        named = "_".join(filter(None, (device.manufacturer, device.name, device.serial)))
        names = {
            "by-id": f"usb-{re.sub('[^A-Za-z0-9#+.:=@_-]', '_', named)}{tail}",
            "by-path": f"pci-0000:00:14.0-usb-0:{port.partition('-')[2]}{tail}",
        }
        for by, name in names.items():
            link = self._dev / kind / by / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../{node}")

    def remove(self, kind: str, node: str) -> None:
        """Remove the links to a node."""
        for link in (self._dev / kind).glob("by-*/*"):
            if link.is_symlink() and link.readlink().name == node:
                link.unlink()
