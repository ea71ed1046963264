"""The public names of jumpstarter_driver_gpio.driver."""

from jumpstarter_driver_gpio.driver import DigitalInput, DigitalOutput, PowerSwitch

__all__ = ["DigitalInput", "DigitalOutput", "PowerSwitch"]
