"""`jumpstarter_driver_storage.client` by its name in the public release."""

from jumpstarter_driver_storage.client import (
    FlasherClient,
    FlasherClientInterface,
    StorageMuxClient,
    StorageMuxFlasherClient,
)

__all__ = ["FlasherClient", "FlasherClientInterface", "StorageMuxClient", "StorageMuxFlasherClient"]
