"""The public names of jumpstarter_driver_serial.driver."""

from jumpstarter_driver_serial.driver import PySerial

__all__ = ["PySerial"]
