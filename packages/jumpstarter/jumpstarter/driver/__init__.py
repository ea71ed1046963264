"""What an author of a driver writes against: `Driver`, `@export`, `@exportstream`, and how to end early."""

from .base import Driver
from .calls import CallCancelled, check_cancelled, is_cancelled, sleep
from .decorators import export, exportstream
from .flasher import FlasherInterface

__all__ = [
    "CallCancelled",
    "Driver",
    "FlasherInterface",
    "check_cancelled",
    "export",
    "exportstream",
    "is_cancelled",
    "sleep",
]
