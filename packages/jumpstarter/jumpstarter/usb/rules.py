"""Rules of udev that give the exporter's group access to a device."""

from __future__ import annotations

GROUP = "jumpstarter"
"""The group that the rules of our packages name."""


def access_rule(vendor: int, product: int) -> str:
    """The rule for the control requests of a device, to be pasted into a file of /etc/udev/rules.d."""
    return (
        f'SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vendor:04x}", '
        f'ATTR{{idProduct}}=="{product:04x}", GROUP="{GROUP}", MODE="0660"'
    )
