"""Which block devices may be written: what the kernel says of them in sysfs and procfs (Documentation/ABI, proc(5))."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .common import StorageError

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a medium has to be, so that it is used."""

    size_bytes: int | None = None
    """Size of a file that stands for a medium; None: it takes the size of its image."""

    max_size_bytes: int | None = None
    """Largest device that is taken for the right one."""

    internal: bool = False
    """Whether a disk that is built into the host may be written."""

    serial: str | None = None
    """Serial number that the device has to have."""

    sysfs: Path = Path("/sys")
    procfs: Path = Path("/proc")


def check_device(path: Path, number: int, rules: Rules, *, write: bool) -> None:
    """Raise StorageError unless a block device may be used: it is the right one, nobody uses it, it is no host's disk.

    `number` is its device number, `path` only for the messages.
    """
    device = BlockDevice(number, rules.sysfs)
    if rules.serial is not None and (serial := device.serial()) != rules.serial:
        raise StorageError(
            f"{path} has the serial number {serial or '(none)'}, not {rules.serial}",
            "plug in the right device, or correct the configuration",
        )
    if not write:
        return
    for user in _users(device, rules.procfs):
        raise StorageError(f"{path} is in use on this host: {user}", "unmount it, or name another device")
    if not (rules.internal or device.is_external()):
        raise StorageError(
            f"{path} is a disk that is built into this host",
            "name another device, or set internal: true if it is meant to be overwritten",
        )


def users_of(path: Path, rules: Rules) -> list[str]:
    """Who on the host uses a block device; nobody where there is none, and for a file."""
    try:
        found = path.stat()
    except OSError:
        return []
    if not stat.S_ISBLK(found.st_mode):
        return []
    return users_of_device(BlockDevice(found.st_rdev, rules.sysfs), rules)


def users_of_device(device: BlockDevice, rules: Rules) -> list[str]:
    """The same for a device by its number."""
    return list(_users(device, rules.procfs))


class BlockDevice:
    """A block device by its number, as sysfs describes it."""

    def __init__(self, number: int, sysfs: Path = Path("/sys")) -> None:
        self.number = f"{os.major(number)}:{os.minor(number)}"
        self._folder = (sysfs / "dev/block" / self.number).resolve()

    def is_external(self) -> bool:
        """Whether it can be taken out of the host: on USB, an SD or MMC card, removable, or not hardware at all."""
        disk = self._disk()
        where = str(disk)
        if "/usb" in where or "/mmc_host/" in where or "/devices/virtual/block/" in where:
            return True
        return _text(disk / "removable") == "1"

    def serial(self) -> str:
        """The serial number of the device, or of the USB device that it is a part of; empty where there is none."""
        disk = self._disk()
        for folder in (disk, disk / "device", *disk.parents):
            if serial := _text(folder / "serial"):
                return serial
            if (folder / "idVendor").exists():
                break
        return ""

    def parts(self) -> Iterator[str]:
        """Numbers of the device and of all its partitions."""
        yield self.number
        for part in sorted(self._folder.glob("*/partition")):
            yield _text(part.parent / "dev")

    def holders(self) -> Iterator[str]:
        """Names of the devices that are made of it or of its partitions: volumes, RAIDs, encrypted disks."""
        for folder in (self._folder, *(part.parent for part in self._folder.glob("*/partition"))):
            with suppress(OSError):
                yield from sorted(holder.name for holder in (folder / "holders").iterdir())

    def names(self) -> set[str]:
        """Names in /dev of the device and its partitions."""
        return {self._folder.name, *(part.parent.name for part in self._folder.glob("*/partition"))}

    def _disk(self) -> Path:
        """The folder of the whole disk."""
        return self._folder.parent if (self._folder / "partition").exists() else self._folder


def _users(device: BlockDevice, procfs: Path) -> Iterator[str]:
    """Who on the host uses a device or a part of it."""
    numbers, names = set(device.parts()), device.names()
    for line in _text(procfs / "self/mountinfo").splitlines():
        fields = line.split(" ")
        if len(fields) > 4:
            source = _source_of(fields)
            if fields[2] in numbers or (Path(source).name in names and source.startswith("/dev/")):
                yield f"mounted on {_unescaped(fields[4])}"
    for line in _text(procfs / "swaps").splitlines()[1:]:
        if Path(_unescaped(line.split(" ")[0].split("\t")[0])).name in names:
            yield "it is swap space"
    for holder in device.holders():
        yield f"it is a part of {holder}"


def _source_of(fields: list[str]) -> str:
    """The device of a line of mountinfo; that of btrfs has another number than its file system."""
    with suppress(ValueError, IndexError):
        return _unescaped(fields[fields.index("-") + 2])
    return ""


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
