"""`jumpstarter_driver_serial.client` by its name in the public release."""

from jumpstarter_driver_serial.client import PySerialClient

__all__ = ["PySerialClient"]
