"""Which block devices may be written: what the kernel says of them in sysfs and procfs (Documentation/ABI, proc(5))."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jumpstarter.common.openers import occupants

from .blockdevices import reason
from .common import StorageError

UNMOUNT = 120.0
"""Seconds that unmounting may take, in which all that was written is brought to the medium."""

_OF_THE_HOST = frozenset(
    {
        "/",
        "/boot",
        "/boot/efi",
        "/boot/firmware",
        "/efi",
        "/etc",
        "/home",
        "/nix",
        "/opt",
        "/root",
        "/srv",
        "/usr",
        "/var",
    }
)
"""Where a host has what it needs to run, which may be on a stick, too."""

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


def users_of_device(device: BlockDevice, rules: Rules) -> list[str]:
    """Who on the host uses a block device."""
    return list(_users(device, rules.procfs))


def users_of(path: Path, rules: Rules) -> list[str]:
    """Who on the host uses a block device; nobody where there is none, and of a file."""
    device = _device_at(path, rules)
    return users_of_device(device, rules) if device is not None else []


def _device_at(path: Path, rules: Rules) -> BlockDevice | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return BlockDevice(found.st_rdev, rules.sysfs) if stat.S_ISBLK(found.st_mode) else None


def unmount(path: Path, rules: Rules) -> list[str]:
    """Unmount what the host has mounted of a medium that leaves it, the latest first; returns the folders.

    Blocks while what was written there is brought to the medium. Raises StorageError, and changes nothing, where the
    host uses it otherwise, it is no external medium, or the host itself lives on it; StorageError, too, for a file
    system that is in use. Nothing where there is no block device.
    """
    device = _device_at(path, rules)
    if device is None:
        return []
    folders = list(_mounts(device, rules.procfs))
    users = list(_other_users(device, rules.procfs))
    if folders and (not device.is_external() or _OF_THE_HOST.intersection(folders)):
        users = [*(f"mounted on {folder}" for folder in folders), *users]
    if users:
        raise StorageError(f"{path} is in use on this host: {', '.join(users)}", "end that first")
    for folder in reversed(folders):
        _unmount(path, folder)
    return folders


def _unmount(path: Path, folder: str) -> None:
    command = ["umount", "--", folder]  # it has rights for what users mount that this process may not have
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=UNMOUNT, check=False
        )
    except subprocess.TimeoutExpired:
        raise StorageError(f"unmount {folder} of {path}: not done within {UNMOUNT:g} s", "unmount it by hand") from None
    except OSError as e:
        raise StorageError(f"unmount {folder} of {path}: umount: {reason(e)}", "unmount it by hand") from e
    if done.returncode != 0:
        why = done.stderr.strip().rpartition(": ")[2].rstrip(".") or f"umount ends with {done.returncode}"
        by = f"; in use by {occupants(folder)}" if "busy" in why else ""
        raise StorageError(f"unmount {folder} of {path}: {why}{by}", "close what is open there, or unmount it by hand")


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
    for folder in _mounts(device, procfs):
        yield f"mounted on {folder}"
    yield from _other_users(device, procfs)


def _mounts(device: BlockDevice, procfs: Path) -> Iterator[str]:
    """The folders on which a device, or a part of it, is mounted, in the order in which that was done."""
    numbers, names = set(device.parts()), device.names()
    for line in _text(procfs / "self/mountinfo").splitlines():
        fields = line.split(" ")
        if len(fields) > 4:
            source = _source_of(fields)
            if fields[2] in numbers or (Path(source).name in names and source.startswith("/dev/")):
                yield _unescaped(fields[4])


def _other_users(device: BlockDevice, procfs: Path) -> Iterator[str]:
    """Who uses it, mounts aside."""
    names = device.names()
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
