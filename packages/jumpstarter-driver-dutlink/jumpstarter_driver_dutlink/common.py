"""What the meter of a DUTLink measures."""

from datetime import datetime

from jumpstarter_driver_power.common import PowerReading


class DutlinkReading(PowerReading):
    """One measurement of the DUT's supply, a mean of 2 seconds."""

    power: float
    """Watts."""

    time: datetime
    """When it was read, by the exporter's clock, with its time zone."""
