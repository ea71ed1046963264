"""`jumpstarter_driver_serial.client` by its name in the public release."""

from jumpstarter_driver_serial.client import Console, PySerialClient

__all__ = ["Console", "PySerialClient"]
