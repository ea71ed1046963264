"""The table of what a driver class exports: made once per class, and all that a client can ever reach."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

from ..common.annotations import resolved_annotations, signature_of_callable
from ..common.convert import converter
from .decorators import (
    DEFAULT_OPTIONS,
    MARKER_DRIVERCALL,
    MARKER_MAGIC,
    MARKER_STREAMCALL,
    MARKER_STREAMING_DRIVERCALL,
    OPTIONS,
    Options,
)

Kind = Literal["call", "streamingcall", "stream"]

_KINDS: dict[str, Kind] = {
    MARKER_DRIVERCALL: "call",
    MARKER_STREAMING_DRIVERCALL: "streamingcall",
    MARKER_STREAMCALL: "stream",
}

MARKERS: dict[Kind, str] = {kind: marker for marker, kind in _KINDS.items()}


@dataclass(frozen=True)
class ExportedMethod:
    """One exported method of a class."""

    name: str
    kind: Kind
    function: Callable[..., Any]
    options: Options = DEFAULT_OPTIONS

    @cached_property
    def is_async(self) -> bool:
        """Whether it runs on the event loop; everything else runs in a worker."""
        return inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(self.function)

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters by name, without the driver itself."""
        return dict(list(signature_of_callable(self.function).parameters.items())[1:])

    @cached_property
    def _parameters(self) -> tuple[inspect.Signature, dict[str, Callable[[Any], Any]]]:
        signature = signature_of_callable(self.function)
        names = list(signature.parameters)[1:]
        annotations = resolved_annotations(self.function)
        return signature, {name: converter(annotations[name]) for name in names if name in annotations}

    @cached_property
    def _needs_nothing(self) -> bool:
        """Whether a call without arguments is complete."""
        try:
            self._parameters[0].bind(None)
        except TypeError:
            return False
        return True

    def arguments(self, driver: object, args: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the method's annotations want them, for `function(*args, **kwargs)`; the driver comes first.

        Raises ValueError that names the parameter, with what was expected and what came.
        """
        if not args and self._needs_nothing:
            return (driver,), {}
        signature, converters = self._parameters
        try:
            bound = signature.bind(driver, *args)
        except TypeError as e:
            raise ValueError(str(e)) from None
        for name, convert in converters.items():
            if name not in bound.arguments:
                continue
            value = bound.arguments[name]
            variadic = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
            try:
                bound.arguments[name] = tuple(map(convert, value)) if variadic else _converted(convert, value)
            except ValueError as e:
                raise ValueError(f"{name}: {e}") from e
        return bound.args, bound.kwargs


def _converted(convert: Callable[[Any], Any], value: object) -> object:
    """The value converted; the handle of a resource passes as it is, since drivers annotate it as text."""
    if isinstance(value, dict) and "kind" in value and ("uuid" in value or "url" in value):
        return cast(object, value)
    return convert(value)


_tables: WeakKeyDictionary[type, Mapping[str, ExportedMethod]] = WeakKeyDictionary()


def exported_methods(cls: type) -> Mapping[str, ExportedMethod]:
    """The exported methods of a class by name.

    The first definition along the class's bases counts, so an override without a mark takes the method away.
    """
    table = _tables.get(cls)
    if table is None:
        table = _tables[cls] = {name: method for name in dir(cls) if (method := _exported(cls, name))}
    return table


def _exported(cls: type, name: str) -> ExportedMethod | None:
    attribute = inspect.getattr_static(cls, name)
    function = getattr(attribute, "__func__", attribute)
    for marker, kind in _KINDS.items():
        if getattr(function, marker, None) == MARKER_MAGIC:
            return ExportedMethod(name, kind, function, getattr(function, OPTIONS, DEFAULT_OPTIONS))
    return None
