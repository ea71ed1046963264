"""`jumpstarter_driver_serial.driver` by its name in the public release."""

from jumpstarter_driver_serial.driver import PySerial

__all__ = ["PySerial"]
