"""The stable name of a serial port: what it is found by again after it was unplugged."""

from pathlib import Path

from jumpstarter.usb import current_host, stable_link


def stable_name(path: str) -> str:
    """The link of udev by which to open a port, or `path` itself where there is none, or it is no node of a port."""
    given = Path(path)
    if "://" in path or given.is_symlink():
        return path  # whoever names a link means it
    host = current_host()
    device = host.owner(host.sysfs / "class/tty" / given.name)
    return str(stable_link(given, host.dev / "serial", device, host.devices() if device else ()) or path)
