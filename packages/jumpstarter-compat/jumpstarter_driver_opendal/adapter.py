"""`jumpstarter_driver_storage.adapter` by its name in the public release."""

from jumpstarter_driver_storage.adapter import OpendalAdapter

__all__ = ["OpendalAdapter"]
