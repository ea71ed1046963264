"""The USB that the tests have: emulated, or in the lab a real kernel's."""

from jumpstarter_testing.usb.fixtures import usb_bench

__all__ = ["usb_bench"]
