"""`jumpstarter_driver_storage.driver` by its name in the public release."""

from jumpstarter_driver_storage.driver import (
    FlasherInterface,
    MockFlasher,
    MockStorageMux,
    MockStorageMuxFlasher,
    StorageMuxFlasherInterface,
    StorageMuxInterface,
)

__all__ = [
    "FlasherInterface",
    "MockFlasher",
    "MockStorageMux",
    "MockStorageMuxFlasher",
    "StorageMuxFlasherInterface",
    "StorageMuxInterface",
]
