"""What pyusb raises, in words: what was attempted, with which device, why it failed, what to do.

The numbers are those of libusb's `enum libusb_error`, as pyusb gives them in `backend_error_code` and `errno`.
"""

from __future__ import annotations

import errno
import os

from ..common.exceptions import BusyError, DeviceAbsentError, DeviceFaultyError
from ..common.openers import openers
from .host import UsbHost
from .listing import UsbDevice
from .rules import GROUP, access_rule

_GONE = (errno.ENODEV, errno.ENOENT, errno.ENXIO, errno.ESHUTDOWN)

_REASONS = {
    errno.EIO: "the transfer failed (cable or port, or it was reset meanwhile)",
    errno.EINVAL: "the request is malformed",
    errno.EOVERFLOW: "it sent more than was asked for",
    errno.ENOMEM: "the kernel has no memory left for USB transfers",
    errno.EINTR: "the transfer was interrupted",
}


class RefusedError(OSError):
    """The device answered a request by a stall: it does not know it, or not with that value."""


def usb_failure(error: Exception, host: UsbHost, device: UsbDevice, doing: str, timeout: float) -> Exception:
    """What to raise for an error of pyusb; `doing` is what was attempted, such as "switch power on"."""
    number = getattr(error, "errno", None)
    what = f"{device}: cannot {doing}"
    if isinstance(error, ValueError) and "backend" in str(error).lower():
        return DeviceFaultyError(f"{what}: libusb is not installed", "install it (Debian: apt install libusb-1.0-0)")
    if number in _GONE or host.again(device) is None:
        return DeviceAbsentError(f"{device}: disconnected; cannot {doing}", "check its cable and its power")
    if number in (errno.EACCES, errno.EPERM):
        node, rule = host.node(device), access_rule(device.vendor, device.product)
        return PermissionError(
            f"{what}: no permission for {node}; add the exporter's user to group {GROUP} and write the rules of "
            f"`jmp driver udev` to /etc/udev/rules.d/70-jumpstarter.rules, or this one: {rule}"
        )
    if number == errno.EBUSY:
        return BusyError(f"{what}: in use by {_holder(host, device)}", "stop what uses it")
    if number == errno.ETIMEDOUT:
        return TimeoutError(f"{what}: no answer within {timeout:g} s")
    if number == errno.EPIPE:
        return RefusedError(f"{what}: it refused the request (firmware too old, or not of this kind?)")
    return OSError(f"{what}: {_REASONS.get(number or 0, str(error))}; check its cable, or plug it in again")


def _holder(host: UsbHost, device: UsbDevice) -> str:
    drivers = sorted({interface.driver for interface in device.interfaces} - {"", "usbfs"})
    if drivers:
        return f"the kernel's driver {', '.join(drivers)}"
    return openers(host.node(device), but=os.getpid())  # we have it open ourselves
