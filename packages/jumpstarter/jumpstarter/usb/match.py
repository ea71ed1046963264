"""Which device is meant: exactly one, or an error that says what there is instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..common.exceptions import DeviceAbsentError, DeviceFaultyError
from .listing import UsbDevice


def looks_like(
    *,
    ids: tuple[int, int] | None = None,
    name: str | None = None,
    interface: tuple[int, int, int] | None = None,
) -> Callable[[UsbDevice], bool]:
    """What tells a kind of device: vendor and product; its product string; an interface's class, subclass and protocol.

    All that is given has to be so.
    """

    def is_kind(device: UsbDevice) -> bool:
        return (
            ids in (None, (device.vendor, device.product))
            and name in (None, device.name)
            and (interface is None or device.interface(*interface) is not None)
        )

    return is_kind


@dataclass(frozen=True, kw_only=True)
class UsbMatch:
    """What is known of a device before it is looked for."""

    kind: str
    """What it is called, in errors."""

    is_kind: Callable[[UsbDevice], bool]
    """Whether a device is of that kind; see `looks_like`."""

    serial: str | None = None
    port: str | None = None
    hint: str = "check its cable and its power"
    """What to do when none is found."""

    when_gone: str = ""
    """What it means for others that it was unplugged, in a few words; for errors."""

    def find(self, devices: Iterable[UsbDevice]) -> UsbDevice:
        """The one device that is meant.

        Raises DeviceAbsentError where there is none, with those of the kind that there are, and DeviceFaultyError where
        there are several.
        """
        candidates = [device for device in devices if self.is_kind(device)]
        found = [device for device in candidates if self._is_meant(device)]
        if not found:
            raise self._absent(candidates)
        if len(found) > 1:
            raise self._ambiguous(found)
        return found[0]

    def pinned(self, device: UsbDevice, devices: Iterable[UsbDevice]) -> UsbMatch:
        """What means this device and no other from now on: its serial, or where that is not its own, its port."""
        twins = [other for other in devices if self.is_kind(other) and other.serial == device.serial]
        if device.serial and len(twins) == 1:
            return replace(self, serial=device.serial)
        return replace(self, port=device.port)

    def gone(self, device: UsbDevice, what: str, hint: str) -> DeviceAbsentError:
        """The error for a device that was there and was unplugged; `what` is what cannot be done."""
        parts = filter(None, (f"{device}: disconnected", self.when_gone, what))
        return DeviceAbsentError("; ".join(parts), hint)

    def _is_meant(self, device: UsbDevice) -> bool:
        return self.serial in (None, device.serial) and self.port in (None, device.port)

    def _absent(self, others: list[UsbDevice]) -> DeviceAbsentError:
        meant = " and ".join(
            [f"serial {self.serial!r}"] * (self.serial is not None) + [f"port {self.port}"] * (self.port is not None)
        )
        what = f"no {self.kind} {f'with {meant} ' if meant else ''}is connected"
        if others:
            return DeviceAbsentError(
                f"{what}; there {'is' if len(others) == 1 else 'are'} {listed(others)}",
                "correct serial or port in the configuration (text that looks like a number in quotes), or connect it",
            )
        return DeviceAbsentError(what, self.hint)

    def _ambiguous(self, found: list[UsbDevice]) -> DeviceFaultyError:
        same = len({device.serial for device in found}) < len(found)
        return DeviceFaultyError(
            f"{len(found)} {self.kind}s fit, and none is taken on a guess: {listed(found)}",
            f"set {'port' if same or self.serial else 'serial'} in the configuration to that of one of them",
        )


def listed(devices: Iterable[UsbDevice]) -> str:
    """Devices in a sentence."""
    return "; ".join(f"[{device}]" for device in devices)


def text_of_serial(serial: str | int | None, digits: int = 0) -> str | None:
    """A serial of a configuration as text; YAML takes one of digits alone for a number, and drops its zeros."""
    return serial if serial is None or isinstance(serial, str) else str(serial).zfill(digits)
