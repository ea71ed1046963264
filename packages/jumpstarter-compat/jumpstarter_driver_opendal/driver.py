"""Names of the public release for `jumpstarter_driver_storage.driver`."""

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
