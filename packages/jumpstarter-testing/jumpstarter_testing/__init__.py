"""Stand-ins for hardware, and what tests of drivers and on devices share."""

from .eventually import eventually
from .pytest import JumpstarterTest

__all__ = ["JumpstarterTest", "eventually"]
