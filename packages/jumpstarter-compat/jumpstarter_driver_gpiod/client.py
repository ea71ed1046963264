"""The public names of jumpstarter_driver_gpio.client."""

from jumpstarter_driver_gpio.client import DigitalInputClient, DigitalOutputClient
from jumpstarter_driver_gpio.edges import PinState

__all__ = ["DigitalInputClient", "DigitalOutputClient", "PinState"]
