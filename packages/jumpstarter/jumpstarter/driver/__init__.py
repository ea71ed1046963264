"""What an author of a driver writes against: `Driver`, `@export`, `@exportstream`, and how to end early."""

from .base import Driver
from .calls import CallCancelled, check_cancelled, is_cancelled, sleep
from .decorators import export, exportstream

__all__ = ["CallCancelled", "Driver", "check_cancelled", "export", "exportstream", "is_cancelled", "sleep"]
