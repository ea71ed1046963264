"""What stands in a tree in place of a driver whose device is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

from ..common.exceptions import DeviceAbsentError
from .base import Driver
from .log import DriverLogger
from .table import ExportedMethod, exported_methods

if TYPE_CHECKING:
    from concurrent.futures import Future


class _NotThere(DeviceAbsentError, AttributeError):
    """What a driver would have, if it were there."""


class StandIn:
    """In place of a driver: of its class, with its name, labels and children, and no device.

    Whoever kept it, such as the driver above, reaches the driver through it once that is there.
    """

    uuid: UUID
    children: dict[str, Driver]
    make: Callable[[dict[str, Driver]], Driver]
    """Makes the driver with its children; raises what the constructor does."""

    failure: BaseException
    """Why there is no driver; the last attempt's."""

    pending: Future[Driver] | None
    """A constructor that still runs."""

    driver: Driver | None
    """What took the place."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        driver = self.__dict__.get("driver")
        if driver is not None:
            return getattr(driver, name)
        failure = self.__dict__.get("failure")
        raise _NotThere(f"the device is not there: {failure}", getattr(failure, "hint", ""))

    def __repr__(self) -> str:
        return f"<stand-in for {type(self).__name__}>"

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def reset(self) -> None:
        """Nothing: what is not there has no state."""

    def close(self) -> None:
        """Nothing; the children have a turn of their own."""

    def release(self) -> None:
        """Nothing."""

    def identity(self) -> None:
        """Unknown."""

    def extra_labels(self) -> dict[str, str]:
        return {}

    enumerate = Driver.enumerate
    report = Driver.report


def stand_in(
    cls: type[Driver],
    arguments: Mapping[str, Any],
    children: dict[str, Driver],
    make: Callable[[dict[str, Driver]], Driver],
    failure: BaseException,
    pending: Future[Driver] | None = None,
) -> Driver:
    """The stand-in for a driver of a class, made with the arguments that the driver would have."""
    try:
        made = cast("Driver", object.__new__(_class_of(cls)))
    except TypeError:  # a class that cannot be derived from, or is not made of Python alone
        made = cast("Driver", object.__new__(_plain_class_of(cls)))
    given = {name: value for name, value in arguments.items() if name != "children"}
    vars(cast("object", made)).update(
        given,
        uuid=uuid4(),
        labels=dict(arguments.get("labels") or {}),
        children=children,
        resources={},
        description=arguments.get("description"),
        methods_description=dict(arguments.get("methods_description") or {}),
        log_level="INFO",
        on_release=arguments.get("on_release"),
        make=make,
        failure=failure,
        pending=pending,
        driver=None,
    )
    made.logger = DriverLogger(made)
    return made


_classes: WeakKeyDictionary[type[Driver], type] = WeakKeyDictionary()


def _class_of(cls: type[Driver]) -> type:
    """A class of stand-ins; it is a `cls` for all who ask, with the same exported methods, none of which works."""
    if cls not in _classes:
        life = {name: vars(StandIn)[name] for name in ("reset", "close", "release", "identity", "extra_labels")}
        exported = {
            name: wraps(method.function)(life[name]) if name in life else _forwarding(method)
            for name, method in exported_methods(cls).items()
        }
        metaclass: Any = type(cls)
        _classes[cls] = metaclass(cls.__name__, (StandIn, cls), _named(cls, exported))
    return _classes[cls]


def _plain_class_of(cls: type[Driver]) -> type:
    class Plain(StandIn, Driver):
        @classmethod
        def client(cls) -> str:
            return path

    path = cls.client()
    metaclass: Any = type(Driver)
    return metaclass(cls.__name__, (Plain,), _named(cls, {}))


def _named(cls: type[Driver], namespace: dict[str, Any]) -> dict[str, Any]:
    return {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__, **namespace}


def _forwarding(method: ExportedMethod) -> Callable[..., Any]:
    """The method for who kept the stand-in: that of the driver, once it is there."""

    @wraps(method.function)
    def forward(self: StandIn, *args: Any, **kwargs: Any) -> Any:
        if self.driver is None:
            raise DeviceAbsentError(f"the device is not there: {self.failure}", getattr(self.failure, "hint", ""))
        return getattr(self.driver, method.name)(*args, **kwargs)

    return forward


class Waiting:
    """A reference that stands for itself as long as its target is hidden behind a stand-in."""

    waits_for: Driver | None = None
    """The stand-in."""

    problem: str = ""
    """Why there is no target, although what hid it is there by now."""

    def target(self) -> Driver | None:
        """The driver that the reference leads to, once it was found."""
        raise NotImplementedError


def waits_for(driver: Driver) -> Driver | None:
    """The stand-in that hides the target of a reference, if the driver is one."""
    return driver.waits_for if isinstance(driver, Waiting) else None
