"""`jumpstarter_driver_serial.client` by the name that the public release has for its console."""

from jumpstarter_driver_serial.client import Console

__all__ = ["Console"]
