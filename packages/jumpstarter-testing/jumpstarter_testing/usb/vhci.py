"""Emulated devices on the kernel's virtual host controller, by the messages of USB/IP.

The kernel's end of a socket pair is handed to `vhci_hcd`, so what it would send over a network arrives here. To the
kernel, libusb and udev it is a device that somebody plugged in. Layouts: Documentation/usb/usbip_protocol.rst of Linux.
"""

import socket
import struct
import subprocess
import threading
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from jumpstarter.usb import UsbDevice, UsbHost

from ..waiting import until
from .device import EmulatedDevice, HangError, StallError
from .dutlink import DutlinkBoard

CONTROLLER = Path("/sys/devices/platform/vhci_hcd.0")
PORTS = 15
"""Ports for full and high speed, and as many for super speed, of each hub (as Debian configures it)."""

SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
EPIPE, ECONNRESET = 32, 104
NO_DEVICE = 4
"""Status of a free port."""

PATIENCE = 20.0


@dataclass
class _Urb:
    """A transfer that was not answered."""

    number: int
    length: int
    setup: bytes = b""
    data: bytes = b""
    reads: bool = True


class _Plug:
    """A device in a port: one thread takes messages, another carries out requests, which may take their time."""

    def __init__(self, device: EmulatedDevice, port: int) -> None:
        self.device, self.number = device, port
        self._ours, self.kernels = socket.socketpair()
        self._changed = threading.Condition(threading.RLock())
        self._requests: deque[_Urb] = deque()
        self._hanging: list[_Urb] = []
        self._waiting: defaultdict[int, deque[_Urb]] = defaultdict(deque)
        self._is_over = False
        self._threads = [
            threading.Thread(target=run, name=f"{device.name} {what}", daemon=True)
            for run, what in ((self._receive, "messages"), (self._work, "requests"))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        with suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE)
        self._ours.close()

    def flush(self, endpoint: int) -> None:
        """Answer the transfers of an IN endpoint that wait, as far as the device has data."""
        with self._changed, self.device.lock:
            waiting, queued = self._waiting[endpoint], self.device.queued[endpoint]
            while waiting and queued and not self._is_over:
                urb, data = waiting.popleft(), queued.popleft()
                if len(data) > urb.length:
                    queued.appendleft(data[urb.length :])
                self._answer(urb, 0, data[: urb.length])

    def _receive(self) -> None:
        with suppress(OSError):
            while True:
                header = self._read(48)
                command, number, _, reads, endpoint = struct.unpack(">5I", header[:20])
                if command == UNLINK:
                    self._unlink(number, struct.unpack(">I", header[20:24])[0])
                    continue
                length = struct.unpack(">i", header[24:28])[0]
                data = b"" if reads else self._read(length)
                self._submit(endpoint, _Urb(number, length, header[40:48], data, bool(reads)))

    def _submit(self, endpoint: int, urb: _Urb) -> None:
        with self._changed:
            if endpoint == 0:
                self._requests.append(urb)
                self._changed.notify_all()
                return
            if urb.reads:
                self._waiting[endpoint].append(urb)
                self.flush(endpoint)
                return
        self.device.received(endpoint, urb.data)
        self._answer(urb, 0, b"", urb.length)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_over or self._requests)
                if self._is_over:
                    return
                if busy := self.device.busy():
                    self._changed.wait(busy)
                    continue
                urb = self._requests.popleft()
            with suppress(OSError):
                self._carry_out(urb)

    def _carry_out(self, urb: _Urb) -> None:
        try:
            answer = self.device.setup(urb.setup, urb.data)[: urb.length]
            self._answer(urb, 0, answer, None if urb.reads else urb.length)
        except StallError:
            self._answer(urb, -EPIPE, b"")
        except HangError:
            with self._changed:
                self._hanging.append(urb)

    def _unlink(self, number: int, victim: int) -> None:
        with self._changed:
            status = 0
            for waiting in (self._requests, self._hanging, *self._waiting.values()):
                for urb in [urb for urb in waiting if urb.number == victim]:
                    waiting.remove(urb)
                    status = -ECONNRESET
            self._ours.sendall(struct.pack(">5Ii24x", UNLINKED, number, 0, 0, 0, status))

    def _answer(self, urb: _Urb, status: int, data: bytes, length: int | None = None) -> None:
        length = len(data) if length is None else length
        head = struct.pack(">5I5i8x", SUBMITTED, urb.number, 0, 0, 0, status, length, 0, 0, 0)
        with self._changed, suppress(OSError):  # unplugged meanwhile
            self._ours.sendall(head + data)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            chunk = self._ours.recv(count - len(data))
            if not chunk:
                raise ConnectionError("the kernel let go of the port")
            data += chunk
        return bytes(data)


class KernelBench:
    """The kernel's virtual USB: eight hubs that know nothing of each other. Needs root and the module `vhci_hcd`."""

    is_real = True

    def __init__(self) -> None:
        self.host = UsbHost()
        self._plugs: dict[EmulatedDevice, _Plug] = {}
        self._away: dict[tuple[int, int], EmulatedDevice] = {}
        """What is plugged in and not on the bus: without a supply, or hanging; by hub and port."""
        self._dark: dict[tuple[int, int], _Plug | None] = {}
        """Ports that lost their supply, and what the kernel has there: it must not hear of it that it has left."""
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._watching: threading.Thread | None = None

    def __enter__(self) -> Self:
        if not CONTROLLER.exists():
            try:
                subprocess.run(["modprobe", "vhci-hcd"], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as e:
                raise RuntimeError("the kernel has no vhci_hcd; run this by: scripts/lab test FILE") from e
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._watching is not None:
            self._watching.join(PATIENCE)
        for device in list(self._plugs):
            self.unplug(device)
        for plug in filter(None, self._dark.values()):
            plug.stop()

    def plug(self, device: EmulatedDevice, hub: int = 0) -> None:
        """Plug a device into a free port of a hub, 0 to 7, and wait until the kernel has it."""
        with self._lock:
            free = (number for number in range(PORTS) if (hub, number) not in self._away)
            plug = self._plugs_into(device, hub, next(n for n in free if self._status(hub, n) == NO_DEVICE))
        self._appear(device, plug)

    def unplug(self, device: EmulatedDevice) -> None:
        """Pull a device out, and wait until the kernel knows; nothing if it is not plugged in."""
        with self._lock:
            self._away = {place: other for place, other in self._away.items() if other is not device}
        self._leave(device)

    def hang(self, device: EmulatedDevice) -> None:
        """Let a device leave the bus until its supply was cut, as firmware does that has crashed.

        See `watch_supplies`.
        """
        with self._lock:
            self._away[divmod(self._plugs[device].number, 2 * PORTS)] = device
        self._leave(device)

    def watch_supplies(self) -> None:
        """Let devices come and go with the supply of their ports, from now on: the kernel's ports are none of wires."""
        self._watching = threading.Thread(target=self._watch, name="supplies of USB ports", daemon=True)
        self._watching.start()

    def _plugs_into(self, device: EmulatedDevice, hub: int, port: int) -> _Plug:
        plug = device.port = self._plugs[device] = _Plug(device, hub * 2 * PORTS + port)
        return plug

    def _appear(self, device: EmulatedDevice, plug: _Plug) -> None:
        if isinstance(device, DutlinkBoard):
            device.move_stick = lambda to_host: self._move_stick(device, to_host)
        device.queued.clear()
        device.powered_up()
        plug.start()
        arguments = f"{plug.number} {plug.kernels.fileno()} {plug.number + 1} {device.speed}"
        (CONTROLLER / "attach").write_text(arguments)
        plug.kernels.close()
        until(lambda: self.find(device) is not None, f"{device.name} does not appear")

    def _leave(self, device: EmulatedDevice) -> None:
        with self._lock:
            plug = self._plugs.pop(device, None)
        if plug is None:
            return
        device.port = None
        listed = self._listed(plug)
        self._stop(plug)
        device.unplugged()
        if listed is not None:
            until(lambda: self.host.again(listed) is None, f"{device.name} does not leave sysfs")

    def _stop(self, plug: _Plug) -> None:
        plug.stop()
        hub, port = divmod(plug.number, 2 * PORTS)
        until(lambda: self._status(hub, port) == NO_DEVICE, f"{plug.device.name} does not leave")

    def _watch(self) -> None:
        while not self._is_over.wait(0.2):
            with self._lock:
                places = {divmod(plug.number, 2 * PORTS): device for device, plug in self._plugs.items()} | self._away
            for place, device in places.items():
                is_dark = not self._has_supply(*place)
                if is_dark and place not in self._dark:
                    self._darken(place, device)
                elif not is_dark and place in self._dark:
                    self._lighten(place)

    def _darken(self, place: tuple[int, int], device: EmulatedDevice) -> None:
        with self._lock:
            self._dark[place], self._away[place] = self._plugs.pop(device, None), device
        device.port = None
        device.unplugged()

    def _lighten(self, place: tuple[int, int]) -> None:
        if (old := self._dark.pop(place)) is not None:
            self._stop(old)
        with self._lock:
            device = self._away.pop(place, None)
            plug = device and self._plugs_into(device, *place)
        if device is not None and plug is not None:
            self._appear(device, plug)

    def _has_supply(self, hub: int, port: int) -> bool:
        bus = self._bus(hub)
        file = self.host.sysfs / f"bus/usb/devices/{bus}-0:1.0/usb{bus}-port{port + 1}/disable"
        return file.read_text().strip() == "0"

    def _move_stick(self, board: DutlinkBoard, to_host: bool) -> None:
        if board.stick is None:
            return
        if to_host and board in self._plugs:
            self.plug(board.stick, hub=7)
        else:
            self.unplug(board.stick)

    def find(self, device: EmulatedDevice) -> UsbDevice | None:
        """The device as the kernel lists it, with its interfaces."""
        plug = self._plugs.get(device)
        found = self._listed(plug) if plug is not None else None
        return found if found is not None and found.interfaces else None

    def _listed(self, plug: _Plug) -> UsbDevice | None:
        hub, port = divmod(plug.number, 2 * PORTS)
        name = f"{self._bus(hub)}-{port + 1}"
        return next((found for found in self.host.devices() if found.port == name), None)

    def _bus(self, hub: int) -> int:
        """Number of a hub's bus; there is another one for super speed."""
        return min(int(path.name[3:]) for path in CONTROLLER.with_name(f"vhci_hcd.{hub}").glob("usb[0-9]*"))

    def _status(self, hub: int, port: int) -> int:
        name = "status" if hub == 0 else f"status.{hub}"
        for line in (CONTROLLER / name).read_text().splitlines():
            fields = line.split()
            if fields[0] == "hs" and int(fields[1]) % (2 * PORTS) == port:
                return int(fields[2])
        raise LookupError(f"no port {port} at hub {hub}")
