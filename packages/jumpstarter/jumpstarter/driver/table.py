"""The table of what a driver class exports: made once per class, and all that a client can ever reach."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

from ..common.annotations import resolved_annotations, signature_of_callable
from ..common.convert import converter, expectation, unwrapped
from ..common.suggest import did_you_mean
from .decorators import (
    DEFAULT_OPTIONS,
    MARKER_DRIVERCALL,
    MARKER_MAGIC,
    MARKER_STREAMCALL,
    MARKER_STREAMING_DRIVERCALL,
    OPTIONS,
    Options,
)
from .kinds import ITERATORS, has_secret

Kind = Literal["call", "streamingcall", "stream"]

_KINDS: dict[str, Kind] = {
    MARKER_DRIVERCALL: "call",
    MARKER_STREAMING_DRIVERCALL: "streamingcall",
    MARKER_STREAMCALL: "stream",
}

NOTHING: Mapping[str, Any] = {}

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
        return dict(list(self._signature.parameters.items())[1:])

    @cached_property
    def _signature(self) -> inspect.Signature:
        return signature_of_callable(self.function)

    @cached_property
    def _annotations(self) -> dict[str, Any]:
        return resolved_annotations(self.function)

    @cached_property
    def _converters(self) -> dict[str, Callable[[Any], Any]]:
        return {name: converter(self._annotations[name]) for name in self.parameters if name in self._annotations}

    @cached_property
    def secrets(self) -> frozenset[str]:
        """Names of the parameters whose values are nobody's business: no text, log or record shows them."""
        return frozenset(name for name in self.parameters if has_secret(self._annotations.get(name)))

    @cached_property
    def _is_simple(self) -> bool:
        """Whether all parameters can be given by position, and none is a list of further ones."""
        return all(parameter.kind in _BY_POSITION for parameter in self.parameters.values())

    @cached_property
    def _least(self) -> int:
        """How many arguments a simple method needs."""
        return sum(parameter.default is inspect.Parameter.empty for parameter in self.parameters.values())

    def arguments(
        self, driver: object, args: Sequence[Any], kwargs: Mapping[str, Any] = NOTHING
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the method's annotations want them, for `function(*args, **kwargs)`; the driver comes first.

        Raises ValueError that names the parameter, with what was expected and what came.
        """
        if not kwargs and self._is_simple and self._least <= len(args) <= len(self.parameters):
            convert = self._converters.get
            pairs = zip(self.parameters, args, strict=False)
            return (driver, *[self._argument(name, convert(name), value) for name, value in pairs]), {}
        try:
            bound = self._signature.bind(driver, *args, **kwargs)
        except TypeError as e:
            raise ValueError(self._unknown_name(kwargs) or f"{e}; it takes {self._takes}") from None
        for name, convert in self._converters.items():
            if name in bound.arguments:
                bound.arguments[name] = self._argument(name, convert, bound.arguments[name])
        return bound.args, bound.kwargs

    def _argument(self, name: str, convert: Callable[[Any], Any] | None, value: Any) -> Any:
        if convert is None:
            return value
        try:
            match self.parameters[name].kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    return tuple(map(convert, value))
                case inspect.Parameter.VAR_KEYWORD:
                    return {key: convert(item) for key, item in value.items()}
                case _:
                    return _converted(convert, value)
        except ValueError as e:
            if name in self.secrets:  # the usual text shows the value
                expected = expectation(self._annotations[name])
                raise ValueError(f"{name}: expected {expected}, got ***") from None
            raise ValueError(f"{name}: {e}") from e

    @property
    def _takes(self) -> str:
        """The parameters in short: `channel, on=True`."""
        empty = inspect.Parameter.empty
        takes = [p.replace(annotation=empty) for p in self.parameters.values()]
        return ", ".join(str(p) for p in takes) or "none"

    def _unknown_name(self, kwargs: Mapping[str, Any]) -> str:
        """What to say of the first argument by name that has no parameter."""
        known = [name for name, parameter in self.parameters.items() if parameter.kind in _BY_NAME]
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in self.parameters.values()):
            return ""
        wrong = next((name for name in kwargs if name not in known), None)
        if wrong is None:
            return ""
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        return f"there is no parameter {wrong!r}{did_you_mean(wrong, known) or f'; {takes}'}"

    @cached_property
    def _result(self) -> Callable[[Any], Any] | None:
        annotation = result_annotation(self.kind, self._annotations)
        return None if annotation is Any else converter(annotation)

    def result(self, value: Any) -> Any:
        """A result, or an item of one, as the method's annotation says; as it is where it cannot be that."""
        if self._result is None:
            return value
        try:
            return self._result(value)
        except Exception:  # noqa: BLE001 what a class's own checks raise; the driver's value counts more
            return value


def result_annotation(kind: Kind, annotations: Mapping[str, Any]) -> Any:
    """The annotation of a method's result, or of each item that it yields; Any where that cannot be told."""
    annotation = unwrapped(annotations.get("return", Any))
    if kind != "streamingcall":
        return annotation
    arguments = typing.get_args(annotation)
    return arguments[0] if typing.get_origin(annotation) in ITERATORS and arguments else Any


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


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
