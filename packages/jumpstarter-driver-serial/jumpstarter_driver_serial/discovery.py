"""Serial ports of this host, for `jmp discover`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jumpstarter.driver.discovery import Found
from jumpstarter.usb import UsbDevice, UsbHost, about_serial, current_host, stable_link

TYPE = "jumpstarter_driver_serial.driver.PySerial"


def discover() -> Iterator[Found]:
    """The ports of USB devices, by udev's links, and those that are built in, but not the host's own console."""
    host = current_host()
    devices = host.devices()
    for device in devices:
        for tty in host.ttys(device):
            yield _of_usb(host, device, tty, devices)
    for folder in sorted((host.sysfs / "class/tty").glob("tty*")):
        if _is_built_in(folder) and host.owner(folder) is None and folder.name not in _consoles(host):
            node = str(host.dev / folder.name)
            title = f"serial port {folder.name}, built in"
            yield Found(name="serial", type=TYPE, title=title, config={"url": node}, device=node, is_generic=True)


def _of_usb(host: UsbHost, device: UsbDevice, tty: Path, devices: list[UsbDevice]) -> Found:
    warnings = about_serial(device, devices)
    link = stable_link(tty, host.dev / "serial", device, devices)
    if link is None:
        warnings = ["udev has made no stable link for it: its name is that of whatever is plugged in first"]
    return Found(
        name="serial",
        type=TYPE,
        title=f"serial port {tty.name} of {device}",
        config={"url": str(link or tty)},
        warnings=tuple(warnings),
        device=device.port,
        is_generic=True,
    )


def _is_built_in(folder: Path) -> bool:
    """Whether there is hardware behind a tty; the kernel has names in reserve, of type 0, and terminals without any."""
    kind = _text(folder / "type")
    return (folder / "device").exists() and kind not in ("", "0")


def _consoles(host: UsbHost) -> list[str]:
    """What the kernel itself writes to."""
    return _text(host.sysfs / "class/tty/console/active").split()


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""
