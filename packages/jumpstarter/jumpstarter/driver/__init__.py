"""What an author of a driver writes against: `Driver`, `@export`, `@exportstream`."""

from .base import Driver
from .decorators import export, exportstream

__all__ = ["Driver", "export", "exportstream"]
