"""The public names of jumpstarter_driver_gpio.client."""

from jumpstarter_driver_gpio.client import DigitalInputClient, DigitalOutputClient, PinState

__all__ = ["DigitalInputClient", "DigitalOutputClient", "PinState"]
