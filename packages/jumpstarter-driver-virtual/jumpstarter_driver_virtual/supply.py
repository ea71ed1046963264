"""The supply of the simulated board: voltage and current over time.

The numbers imitate a small Arm board at 5 V: a spike of charging capacitors, a busy boot, a quiet idle.
"""

import math
import random

VOLTAGE = 5.05
SOURCE_OHM = 0.08
INRUSH_AMPERE = 1.6
INRUSH_SECONDS = 0.03

HALTED_AMPERE = 0.02
FIRMWARE_AMPERE = 0.31
BOOT_AMPERE = 0.62
IDLE_AMPERE = 0.24
LOAD_AMPERE = 0.55
LED_AMPERE = 0.012


class Supply:
    """A bench supply with a meter; the noise on its readings follows from the seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def reading(self, ampere: float, seconds_on: float) -> tuple[float, float]:
        """Return volt and ampere for a board that draws `ampere`, `seconds_on` after power-on."""
        inrush = INRUSH_AMPERE * math.exp(-seconds_on / INRUSH_SECONDS)
        current = (ampere + inrush) * self._random.gauss(1.0, 0.015)
        voltage = VOLTAGE - current * SOURCE_OHM + self._random.gauss(0.0, 0.003)
        return round(voltage, 3), round(current, 4)


def boot_ampere(progress: float) -> float:
    """Return the draw while the system starts; `progress` goes from 0 to 1."""
    return BOOT_AMPERE + 0.18 * math.sin(9 * progress) * (1 - progress)
