"""A USB of this process: a directory that looks like sysfs, nodes that lead to files and pseudo-terminals, pyusb."""

import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from jumpstarter.usb import UsbDevice, UsbHost

from ..serial import FakeSerial
from .backend import Attachment, EmulatedBackend
from .device import EmulatedDevice
from .dutlink import DutlinkBoard
from .hub import EmulatedHub
from .links import UdevLinks
from .storage import MassStorage

HUBS, PORTS = 8, 8

EXPERIMENTAL = 240
"""Major number of disks, which no disk of this machine has."""


@dataclass
class _Port:
    """What a device has on this bench."""

    attachment: Attachment
    path: Path
    tty: FakeSerial | None = None
    disk: Path | None = None
    pumping: threading.Thread | None = None
    ready: threading.Condition = field(default_factory=threading.Condition)
    is_over: bool = False

    def flush(self, endpoint: int) -> None:
        with self.ready:
            self.ready.notify_all()

    def pump(self) -> None:
        """Carry what the device sends to its tty; the firmware drops what nobody takes."""
        device, tty = self.attachment.device, self.tty
        assert tty is not None
        while True:
            with self.ready:
                self.ready.wait_for(lambda: self.is_over or device.queued[2])
                if self.is_over:
                    return
            data = device.queued[2][0]
            try:
                tty.send(data, timeout=1)
            except TimeoutError:
                if device.busy():
                    continue  # it waits until somebody reads
            except ConnectionError:
                pass
            with device.lock:
                device.queued[2].popleft()


class FakeBench:
    """Eight hubs to plug emulated devices into, for the drivers of this process."""

    is_real = False

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jmp-usb-")
        self.root = Path(self._folder.name)
        self.backend = EmulatedBackend()
        self.backend.on_driver = self._driver_moved
        self.host = UsbHost(self.root / "sys", self.root / "dev", self.backend, self._store)
        self._links = UdevLinks(self.root / "dev")
        self._ports: dict[EmulatedDevice, _Port] = {}
        self._away: dict[str, EmulatedDevice] = {}
        """What is plugged in and not on the bus: without a supply, or hanging; by the name of its port."""
        self._lock = threading.RLock()
        self._address = 10
        self.has_cdc_acm = True
        """Whether the kernel has the driver for serial ports of what is plugged in."""
        for folder in (
            "sys/bus/usb/devices",
            "sys/class/block",
            "sys/class/tty",
            "sys/dev/block",
            "sys/devices/usb1",
            "dev",
        ):
            (self.root / folder).mkdir(parents=True)
        self.hubs = [self._made_hub(number) for number in range(HUBS)]

    def let_kernel_switch_ports(self) -> None:
        """Give the hubs the files that Linux has from 6.0 on to switch their ports; before, they are to be asked."""
        for number in range(HUBS):
            for port in range(1, PORTS + 1):
                (folder := self._port_folder(number, port)).mkdir()
                (folder / "disable").write_text("0\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for device in list(self._ports):
            self.unplug(device)
        self._folder.cleanup()

    def plug(self, device: EmulatedDevice, hub: int = 0) -> None:
        """Plug a device into the next free port of a hub, 0 to 7."""
        with self._lock:
            taken = {port.path.name for port in self._ports.values()} | self._away.keys()
            number = next(i for i in range(1, PORTS + 1) if f"1-{hub + 1}.{i}" not in taken)
            self._appear(device, hub, number)

    def unplug(self, device: EmulatedDevice) -> None:
        """Pull a device out; nothing if it is not plugged in."""
        self._away = {name: other for name, other in self._away.items() if other is not device}
        self._leave(device)

    def hang(self, device: EmulatedDevice) -> None:
        """Let a device leave the bus until its supply was cut, as firmware does that has crashed."""
        with self._lock:
            self._away[self._ports[device].path.name] = device
        self._leave(device)

    def watch_supplies(self) -> None:
        """Let devices come and go with the supply of their ports, which they do here anyway."""

    def _appear(self, device: EmulatedDevice, hub: int, number: int) -> None:
        self._address += 1
        path = self._hub(hub) / f"1-{hub + 1}.{number}"
        attachment = Attachment(device, 1, self._address, (hub + 1, number))
        device.queued.clear()
        device.powered_up()
        port = device.port = self._ports[device] = _Port(attachment, path)
        self._describe(
            path,
            address=self._address,
            idVendor=f"{device.vendor:04x}",
            idProduct=f"{device.product:04x}",
            bcdDevice=f"{device.version:04x}",
            manufacturer=device.manufacturer,
            product=device.name,
            serial=device.serial,
            authorized="1",
        )
        for interface, triple in device.numbered_interfaces():
            self._describe_interface(path, interface, triple)
        self._add_functions(device, port)
        self._list(path)
        self.backend.attached.append(attachment)

    def _leave(self, device: EmulatedDevice) -> None:
        with self._lock:
            port = self._ports.pop(device, None)
            if port is None:
                return
            port.attachment.is_there = False
            self.backend.attached.remove(port.attachment)
            device.port = None
            self._remove_disk(port)
            self._remove_tty(port)
            self._forget(port.path)
            with port.ready:
                port.is_over = True
                port.ready.notify_all()
        if port.tty is not None:
            port.tty.unplug()
        if port.pumping is not None and port.pumping is not threading.current_thread():
            port.pumping.join(5)
        device.unplugged()

    # hubs

    def _made_hub(self, number: int) -> EmulatedHub:
        hub, path = EmulatedHub(PORTS), self._hub(number)
        self._describe(
            path,
            address=number + 2,
            idVendor=f"{hub.vendor:04x}",
            idProduct=f"{hub.product:04x}",
            product=hub.name,
            authorized="1",
        )
        self._describe_interface(path, 0, (9, 0, 0))
        self._list(path)
        self.backend.attached.append(Attachment(hub, 1, number + 2, (number + 1,)))
        hub.is_used = lambda port: (path / f"{path.name}.{port}").exists()
        hub.on_power = lambda port, on: self._supply_moved(number, port, on)
        return hub

    def _supply_moved(self, hub: int, number: int, on: bool) -> None:
        name = f"1-{hub + 1}.{number}"
        here = next((device for device, port in self._ports.items() if port.path.name == name), None)
        if not on and here is not None:
            self.hang(here)
        elif on and (device := self._away.pop(name, None)) is not None:
            self._appear(device, hub, number)

    def _store(self, file: Path, value: str) -> None:
        """What the kernel does when a file of sysfs is written."""
        if not file.exists():
            raise FileNotFoundError(2, "No such file or directory", str(file))
        file.write_text(f"{value}\n")
        if file.name == "disable":
            hub, number = self._numbers(file.parent.name.replace("-port", "."))
            self.hubs[hub].power(number, value == "0")
            file.write_text(f"{int(number not in self.hubs[hub].powered)}\n")
        elif file.name == "authorized" and value == "1":
            self._restart(file.parent.name)
        elif file.name == "remove":
            self.hang(next(device for device, port in self._ports.items() if port.path == file.parent))

    def _restart(self, name: str) -> None:
        """The device there, or all behind the hub there, appears anew, with what hung."""
        found = {port.path.name: device for device, port in self._ports.items()} | self._away
        for there, device in found.items():
            if there == name or there.startswith(f"{name}."):
                self.unplug(device)
                self._appear(device, *self._numbers(there))

    def _numbers(self, name: str) -> tuple[int, int]:
        """Hub, as of `plug`, and port."""
        hub, _, number = name.removeprefix("1-").partition(".")
        return int(hub) - 1, int(number)

    def _port_folder(self, hub: int, number: int) -> Path:
        path = self._hub(hub)
        return path / f"{path.name}:1.0/{path.name}-port{number}"

    def find(self, device: EmulatedDevice) -> UsbDevice | None:
        """The device as it is listed."""
        port = self._ports.get(device)
        return port and next((d for d in self.host.devices() if d.port == port.path.name), None)

    def _hub(self, number: int) -> Path:
        return self.root / f"sys/devices/usb1/1-{number + 1}"

    def _describe(self, path: Path, *, address: int, **attributes: str) -> None:
        path.mkdir()
        defaults = {"busnum": "1", "devnum": str(address), "bcdDevice": "0100"}
        for name, value in (defaults | attributes).items():
            if value:
                (path / name).write_text(f"{value}\n")

    def _list(self, path: Path) -> None:
        """Let a device be found, once all of it is there."""
        (self.root / "sys/bus/usb/devices" / path.name).symlink_to(path)

    def _describe_interface(self, path: Path, number: int, triple: tuple[int, int, int]) -> None:
        folder = path / f"{path.name}:1.{number}"
        folder.mkdir()
        names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
        for name, value in zip(names, triple, strict=True):
            (folder / name).write_text(f"{value:02x}\n")
        (folder / "bInterfaceNumber").write_text(f"{number:02x}\n")

    def _add_functions(self, device: EmulatedDevice, port: _Port) -> None:
        """The tty and the disk that the kernel's drivers would make of it."""
        for number, triple in device.numbered_interfaces():
            folder = port.path / f"{port.path.name}:1.{number}"
            if triple[:2] == (2, 2) and self.has_cdc_acm:
                self._add_tty(device, port, folder)
            elif triple == (8, 6, 0x50):
                assert isinstance(device, MassStorage)
                port.attachment.drivers.add(number)
                self._add_disk(device, port, folder)
        if isinstance(device, DutlinkBoard):
            device.move_stick = lambda to_host: self._move_stick(device, to_host)

    def _add_tty(self, device: EmulatedDevice, port: _Port, folder: Path) -> None:
        name = f"ttyACM{next(i for i in range(100) if not (self.root / f'dev/ttyACM{i}').is_symlink())}"
        (folder / "tty" / name).mkdir(parents=True)

        def typed(data: bytes) -> bytes:
            device.received(1, data)
            return b""

        port.tty = FakeSerial(self.root / "dev" / name, answer=typed)
        port.tty.plug()
        (folder / "tty" / name / "device").symlink_to("../..")
        (self.root / "sys/class/tty" / name).symlink_to(folder / "tty" / name)
        self._links.add("serial", name, device, port.path.name, f"-if{folder.name[-2:].strip('.').zfill(2)}")
        port.pumping = threading.Thread(target=port.pump, name=f"{device.name} console", daemon=True)
        port.pumping.start()

    def _remove_tty(self, port: _Port) -> None:
        if port.tty is not None:
            name = Path(port.tty.path).name
            (self.root / "sys/class/tty" / name).unlink()
            self._links.remove("serial", name)

    def _add_disk(self, device: MassStorage, port: _Port, folder: Path) -> None:
        taken = {other.disk.name for other in self._ports.values() if other.disk is not None}
        name = next(n for i in range(26) if (n := f"sd{chr(97 + i)}") not in taken)
        block = folder / "host0/target0:0:0/0:0:0:0/block" / name
        block.mkdir(parents=True)
        (block / "device").symlink_to("../..")
        (block / "device/state").write_text("running\n")
        number = f"{EXPERIMENTAL}:{16 * (ord(name[2]) - ord('a'))}"
        for file, text in (("dev", number), ("removable", "1"), ("size", str(device.blocks * device.is_present))):
            (block / file).write_text(f"{text}\n")
        for link in (f"class/block/{name}", f"dev/block/{number}"):
            (self.root / "sys" / link).symlink_to(block)
        self._links.add("disk", name, device, port.path.name, "-0:0")
        port.disk = self.root / "dev" / name
        device.commands = 1
        self._point(device, port)
        device.on_medium = lambda _present: self._point(device, port)

    def _point(self, device: MassStorage, port: _Port) -> None:
        """Let the node of a disk lead to its file; where there is no medium, there is no node here."""
        if port.disk is None:
            return
        if not device.is_present:
            port.disk.unlink(missing_ok=True)
            return
        other = port.disk.with_name(f".{port.disk.name}")
        other.symlink_to(device.path)
        other.replace(port.disk)

    def _remove_disk(self, port: _Port) -> None:
        if port.disk is not None:
            port.disk.unlink(missing_ok=True)
            entry = self.root / "sys/class/block" / port.disk.name
            (self.root / "sys/dev/block" / (entry / "dev").read_text().strip()).unlink()
            entry.unlink()
            self._links.remove("disk", port.disk.name)
            port.disk = None

    def _driver_moved(self, attachment: Attachment, number: int, bound: bool) -> None:
        """usb-storage was detached from a reader, or attached again."""
        port = self._ports[attachment.device]
        folder = port.path / f"{port.path.name}:1.{number}"
        if bound and isinstance(attachment.device, MassStorage):
            if port.disk is None:
                self._add_disk(attachment.device, port, folder)
            attachment.device.commands = 1  # the kernel looks at once
        elif port.disk is not None:
            self._remove_disk(port)
            _remove(folder / "host0")

    def _move_stick(self, board: DutlinkBoard, to_host: bool) -> None:
        if board.stick is None:
            return
        if to_host and board in self._ports:
            self.plug(board.stick, hub=7)
        else:
            self.unplug(board.stick)

    def _forget(self, path: Path) -> None:
        (self.root / "sys/bus/usb/devices" / path.name).unlink()
        _remove(path)


def _remove(path: Path) -> None:
    """Remove a tree that others may be reading."""
    gone = path.with_name(f"gone-{path.name}-{time.monotonic_ns()}")
    path.rename(gone)
    for folder, folders, files in os.walk(gone, topdown=False):
        for path in (Path(folder) / name for name in (*files, *folders)):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    gone.rmdir()
