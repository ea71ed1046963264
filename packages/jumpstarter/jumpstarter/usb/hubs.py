"""The supply of a USB port, which some hubs can cut: what is plugged in there loses its power, and starts anew.

Linux does that by the port's file `disable`, from 6.0 on (Documentation/ABI/testing/sysfs-bus-usb); before, the hub is
asked, and the kernel may switch on again what it did not switch off. Requests: USB 2.0, 11.24; USB 3.2, 10.16.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from ..common.exceptions import ConfigurationError, DeviceFaultyError
from .host import UsbHost
from .link import CLASS, OTHER, UsbLink
from .listing import UsbDevice, prefix_of
from .match import UsbMatch

GET_STATUS, CLEAR_FEATURE, SET_FEATURE, GET_DESCRIPTOR = 0, 1, 3, 6
PORT_POWER = 8
HUB, SUPER_SPEED_HUB = 0x2900, 0x2A00
"""Descriptors of hubs, as values of GET_DESCRIPTOR."""

REPEATS = 20
"""How often a port is switched off that the kernel switches on again."""
POLL = 0.1
SETTLING = 3.0
"""Seconds until a port says what it was told."""

_PORT = re.compile(r"(\d+)-(?:(\d+(?:\.\d+)*)\.)?(\d+)")
_FOLDER = re.compile(r"(usb\d+|\d+-[\d.]+)-port(\d+)")


class HubPort:
    """A port of a hub, by the name that what is plugged in there has as `UsbDevice.port`; nothing has to be there.

    Methods block, for the timeout of each request. They raise PermissionError where the hub may not be used, with the
    rule for udev, and DeviceAbsentError where it is not there.
    """

    def __init__(self, port: str) -> None:
        """Raises ConfigurationError for what is no port of a hub."""
        named = _PORT.fullmatch(port)
        if named is None:
            raise ConfigurationError(f"{port!r} is no USB port, such as 1-4 or 1-4.2", "jmp discover shows them")
        bus, above, number = named.groups()
        hub = f"{bus}-{above}" if above else f"usb{bus}"
        self.port, self.number = port, int(number)
        self._link = UsbLink(UsbMatch(kind=f"USB hub {hub}", is_kind=lambda device: device.port == hub))

    def __str__(self) -> str:
        return f"USB port {self.port}"

    @property
    def host(self) -> UsbHost:
        return self._link.host

    def device(self) -> UsbDevice | None:
        """What is plugged in there and has a supply."""
        return next((device for device in self.host.devices() if device.port == self.port), None)

    def why_fixed(self, timeout: float) -> str | None:
        """Why the hub cannot cut the supply of this port alone, as it says; None where it says that it can."""
        hub = self._link.device()
        value = SUPER_SPEED_HUB if self._is_super_speed(hub) else HUB
        described = self._link.read(
            GET_DESCRIPTOR, value, 8, index=0, to=CLASS, doing="ask how it switches ports", timeout=timeout
        )
        if len(described) < 4:
            return f"{self}: its hub [{hub}] does not say how it switches ports"
        ports, mode = described[2], described[3] & 3
        if mode == 1 or (mode == 0 and ports == 1):
            return None
        how = "only all its ports together" if mode == 0 else "none of its ports"
        return f"{self}: its hub [{hub}] can switch {how}"

    def is_powered(self, timeout: float) -> bool:
        """Whether the port has its supply, as the hub says."""
        return any(half._has_supply(timeout) for half in self._halves())

    def power(self, on: bool, timeout: float) -> None:
        """Switch the supply, and read back that it was; DeviceFaultyError where it was not.

        Of a hub for USB 3, which is two hubs in one, both halves are switched. Whether the hub has a switch where it
        says so only shows by what is plugged in.
        """
        halves = self._halves()
        for half in halves:
            half._switch(on, timeout)
        end = time.monotonic() + SETTLING
        while any(half._has_supply(timeout) != on for half in halves):
            if time.monotonic() > end:
                raise DeviceFaultyError(
                    f"{self}: its supply was switched {'on' if on else 'off'}, and its hub says that it is not: "
                    f"[{self._link.device()}]",
                    "use a hub that switches its ports one by one",
                )
            time.sleep(POLL)

    def _halves(self) -> list[HubPort]:
        """This port, and that of the hub's other half, for the other generation of USB."""
        peer = self._file("peer")
        named = _FOLDER.fullmatch(peer.resolve().name) if peer.exists() else None
        if named is None:
            return [self]
        hub, number = named.groups()
        return [self, HubPort(f"{hub[3:]}-{number}" if hub.startswith("usb") else f"{hub}.{number}")]

    def _has_supply(self, timeout: float) -> bool:
        file = self._file("disable")
        if file.exists():
            return file.read_text().strip() == "0"
        status = self._link.read(
            GET_STATUS, 0, 4, index=self.number, to=CLASS | OTHER, doing=f"ask for port {self.number}", timeout=timeout
        )
        bit = 9 if self._is_super_speed(self._link.device()) else 8
        return bool(int.from_bytes(status[:2], "little") >> bit & 1)

    def _switch(self, on: bool, timeout: float) -> None:
        file = self._file("disable")
        if file.exists():
            self.host.set(file, "0" if on else "1")
            return
        if not on:
            self._take_out()
        request = SET_FEATURE if on else CLEAR_FEATURE
        doing = f"switch port {self.number} {'on' if on else 'off'}"
        for _ in range(1 if on else REPEATS):
            self._link.write(request, PORT_POWER, index=self.number, to=CLASS | OTHER, doing=doing, timeout=timeout)
            if on:
                return
            time.sleep(POLL / 2)
            if not self._has_supply(timeout):
                return

    def _take_out(self) -> None:
        """Let the kernel take the device out of use first, so that it does not fight for it."""
        device = self.device()
        if device is not None and os.access(remove := device.path / "remove", os.W_OK):
            self.host.set(remove, "1")

    def _file(self, name: str) -> Path:
        hub = self._link.device()
        return hub.path / f"{prefix_of(hub.port)}:1.0" / f"{hub.port}-port{self.number}" / name

    def _is_super_speed(self, hub: UsbDevice) -> bool:
        speed = hub.path / "speed"
        return speed.exists() and float(speed.read_text()) >= 5000
