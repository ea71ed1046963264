"""The public names of jumpstarter_driver_serial.client."""

from jumpstarter_driver_serial.client import PySerialClient

__all__ = ["PySerialClient"]
