"""The kernel's USB."""

from jumpstarter_testing.usb.fixtures import usb_bench

__all__ = ["usb_bench"]
