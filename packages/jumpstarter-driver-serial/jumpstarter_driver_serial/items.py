"""What readers of a console get."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the console."""

    offset: int
    """Of the first byte, counted from the start of the exporter."""

    time: float
    """When the first byte came, in seconds since the epoch."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the console, between two bytes."""

    offset: int
    """Of the byte that came next."""

    time: float
    """Seconds since the epoch."""

    kind: str
    """lost, back, mark, line or writer."""

    text: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Bytes that a reader came too late for: the exporter keeps them no more."""

    offset: int
    """Of the first of them."""

    count: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that were not sent to the device."""

    count: int

    text: str
    """Why."""


Item = Data | Event | Dropped | Refused
