"""The logger of a driver: named after its class, with a level of its own; its records know the driver."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Driver

_AUTHOR = "_jumpstarter_driver"


class DriverLogger(logging.Logger):
    """Hands its records to the logger `driver.<Class>`, which all drivers of a class share.

    A level that somebody sets at the shared one counts for all of them.
    """

    def __init__(self, driver: Driver, suffix: str = "") -> None:
        super().__init__(f"driver.{type(driver).__name__}{suffix}", driver.log_level)
        self.parent = logging.getLogger(self.name)
        self._author = weakref.ref(driver)

    def getChild(self, suffix: str) -> logging.Logger:
        """A logger of this driver for a part of it."""
        driver = self._author()
        if driver is None:
            return super().getChild(suffix)
        child = DriverLogger(driver, f"{self.name.removeprefix(f'driver.{type(driver).__name__}')}.{suffix}")
        child.setLevel(self.level)
        return child

    def isEnabledFor(self, level: int) -> bool:
        """Whether records of that level are made."""
        return level >= self.getEffectiveLevel() and level > self.manager.disable

    def getEffectiveLevel(self) -> int:
        """The least severe level that is logged."""
        shared = self.parent
        if shared is not None and shared.level:
            return shared.level
        return self.level or super().getEffectiveLevel()

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """The record, which knows its driver."""
        record = super().makeRecord(*args, **kwargs)
        setattr(record, _AUTHOR, self._author)
        return record

    def __reduce__(self) -> tuple[Callable[[str], logging.Logger], tuple[str]]:
        return logging.getLogger, (self.name,)

    def __deepcopy__(self, memo: object) -> DriverLogger:
        return self


def author_of(record: logging.LogRecord) -> Driver | None:
    """The driver that wrote a record to its logger."""
    reference = getattr(record, _AUTHOR, None)
    return reference() if reference is not None else None
