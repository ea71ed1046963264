"""In which state a driver hands its device back when a session ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import getattr_static, isfunction
from typing import TYPE_CHECKING, Any

from ..common.annotations import signature_of_callable
from ..common.exceptions import ConfigurationError
from ..common.suggest import did_you_mean
from .table import ExportedMethod, exported_methods

if TYPE_CHECKING:
    from .base import Driver

LEAVE = "leave"

_YAML = {False: "off", True: "on"}
"""What YAML makes of these words where they are not quoted."""


def wanted(driver: Driver) -> Any:
    """What is to happen: `on_release` of the configuration, or of the class."""
    value = driver.__dict__.get("on_release")
    if value is not None:
        return _plain(value)
    cls = type(driver)
    default = _class_default(cls)
    return default if default == LEAVE or overrides(cls) or default in _methods(cls) else LEAVE


def _plain(value: Any) -> Any:
    return _YAML[value] if isinstance(value, bool) else value


def _class_default(cls: type[Driver]) -> str:
    from .base import Driver

    # that of an interface which is only mixed in comes before the base's, whatever the order of the bases
    defaults = (
        vars(base)["release_default"] for base in cls.__mro__ if "release_default" in vars(base) and base is not Driver
    )
    return next(defaults, LEAVE)


def overrides(cls: type[Driver]) -> bool:
    """Whether a class hands back in its own way; an exported method that is called `release` is something else."""
    from .base import Driver

    return hook(cls) is not Driver.release


def hook(cls: type[Driver]) -> Callable[[Driver], Awaitable[None] | None]:
    """What hands back a driver of this class."""
    from .base import Driver

    found = getattr_static(cls, "release")
    return found if isfunction(found) and "release" not in exported_methods(cls) else Driver.release


def _methods(cls: type[Driver]) -> dict[str, ExportedMethod]:
    """The exported methods that can be called without arguments and give one result."""
    return {
        name: method
        for name, method in exported_methods(cls).items()
        if method.kind == "call" and _needs_nothing(method)
    }


def _needs_nothing(method: ExportedMethod) -> bool:
    try:
        signature_of_callable(method.function).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def check(cls: type[Driver], value: Any) -> None:
    """Raise ConfigurationError unless `on_release` with this value is something that drivers of a class can do."""
    value = _plain(value)
    if value == LEAVE or overrides(cls):
        return
    methods = _methods(cls)
    if not isinstance(value, str) or value not in methods:
        guess = did_you_mean(value, [LEAVE, *methods]) if isinstance(value, str) else ""
        possible = guess or f"; it can be {', '.join([LEAVE, *methods])}"
        raise ConfigurationError(f"{cls.__name__} has no method {value!r} without parameters{possible}")


def release(driver: Driver) -> Awaitable[None] | None:
    """Do what `on_release` says; the result of an async method is to be awaited on the event loop."""
    value = wanted(driver)
    if value == LEAVE:
        return None
    return getattr(driver, value)()


def acts(driver: Driver) -> bool:
    """Whether handing back does anything."""
    return overrides(type(driver)) or wanted(driver) != LEAVE
