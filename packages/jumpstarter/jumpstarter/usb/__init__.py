"""Devices on the USB of the exporter's host: which there are, the one that is meant, requests to it.

Only drivers of USB devices import this. libusb and pyusb are needed for requests alone, and come with those drivers.
"""

from .host import UsbHost, current_host, use_host
from .hubs import HubPort
from .link import INTERFACE, VENDOR, Shared, UsbLink
from .listing import UsbDevice, UsbInterface
from .match import UsbMatch, looks_like, text_of_serial
from .naming import about_serial, has_own_serial, stable_link, twins_of

__all__ = [
    "INTERFACE",
    "VENDOR",
    "HubPort",
    "Shared",
    "UsbDevice",
    "UsbHost",
    "UsbInterface",
    "UsbLink",
    "UsbMatch",
    "about_serial",
    "current_host",
    "has_own_serial",
    "looks_like",
    "stable_link",
    "text_of_serial",
    "twins_of",
    "use_host",
]
