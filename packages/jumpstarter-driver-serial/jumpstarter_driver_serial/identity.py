"""The stable name of a serial port: what it is found by again after it was unplugged.

/dev/ttyUSB0 is whatever comes first. udev's links name the device (by-id: vendor, model, serial number) or the socket
that it is in (by-path). Cheap adapters have no serial number, or all the same one, so by-id counts only where the
device has one that no other port's device has.
"""

from contextlib import suppress
from pathlib import Path

_LINKS = Path("/dev/serial")
_CLASS = Path("/sys/class/tty")


def stable_name(path: str, links: Path = _LINKS, sysfs: Path = _CLASS) -> str:
    """The link by which to open a port, or `path` itself where there is none that is better."""
    given = Path(path)
    if "://" in path or given.is_symlink():
        return path  # whoever names a link means it
    by = {kind: _link_to(given, links / kind) for kind in ("by-id", "by-path")}
    if (by_id := by["by-id"]) and _is_unique(given.name, sysfs):
        return by_id
    return by["by-path"] or path


def _link_to(target: Path, folder: Path) -> str | None:
    with suppress(OSError):
        for link in sorted(folder.iterdir()):
            with suppress(OSError):
                if link.resolve() == target.resolve():
                    return str(link)
    return None


def _is_unique(name: str, sysfs: Path) -> bool:
    """Whether the device of a tty has a serial number, and no other device with a tty has the same."""
    own = _usb_device(sysfs / name)
    if own is None or (serial := _serial(own)) is None:
        return False
    others = {_usb_device(tty) for tty in sysfs.iterdir()} - {own, None}
    return all(other is None or _serial(other) != serial for other in others)


def _usb_device(tty: Path) -> Path | None:
    """The directory of the USB device that a tty belongs to."""
    with suppress(OSError):
        folder = (tty / "device").resolve(strict=True)
        return next((parent for parent in (folder, *folder.parents) if (parent / "idVendor").exists()), None)
    return None


def _serial(device: Path) -> str | None:
    with suppress(OSError):
        return (device / "serial").read_text().strip() or None
    return None
