"""What a power driver measures."""

from pydantic import BaseModel


class PowerReading(BaseModel):
    """One measurement of a supply."""

    voltage: float
    """Volts."""

    current: float
    """Amperes."""

    @property
    def apparent_power(self) -> float:
        """Volt-amperes."""
        return self.voltage * self.current
