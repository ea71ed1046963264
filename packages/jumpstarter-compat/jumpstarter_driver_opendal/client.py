"""`jumpstarter_driver_storage.client` by its name in the public release."""

from jumpstarter_driver_storage.adapter import clean_filename, operator_for_path, path_with_query
from jumpstarter_driver_storage.client import (
    FlasherClient,
    FlasherClientInterface,
    StorageMuxClient,
    StorageMuxFlasherClient,
)

__all__ = [
    "FlasherClient",
    "FlasherClientInterface",
    "StorageMuxClient",
    "StorageMuxFlasherClient",
    "clean_filename",
    "operator_for_path",
    "path_with_query",
]
