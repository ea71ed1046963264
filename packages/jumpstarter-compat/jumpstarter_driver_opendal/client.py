"""Names of the public release for `jumpstarter_driver_storage.client`."""

from jumpstarter_driver_storage.client import (
    FlasherClient,
    FlasherClientInterface,
    StorageMuxClient,
    StorageMuxFlasherClient,
)

__all__ = ["FlasherClient", "FlasherClientInterface", "StorageMuxClient", "StorageMuxFlasherClient"]
