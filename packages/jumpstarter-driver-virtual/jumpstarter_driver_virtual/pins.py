"""The level of a digital line."""

from enum import IntEnum


class PinState(IntEnum):
    """Whether a line is active."""

    INACTIVE = 0
    ACTIVE = 1

    def __str__(self) -> str:
        return self.name.lower()
