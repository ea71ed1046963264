"""What is checked when a class of drivers is defined: whether its exported methods' arguments and results can travel.

Only what can never work is refused. What cannot be told passes: missing annotations, names that nothing resolves, and
parameters with a default, which a client need not give.
"""

from __future__ import annotations

import collections.abc
import inspect
import io
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeGuard, cast
from weakref import WeakSet

from ..common.annotations import resolved_annotations, signature_of_callable
from ..common.convert import unwrapped
from .decorators import MARKER_DRIVERCALL, MARKER_MAGIC, MARKER_STREAMING_DRIVERCALL
from .kinds import LISTS, MAPPINGS, SEQUENCES, field_annotations, is_secret, is_value_class, scalar_kind

_CALLABLES: tuple[Any, ...] = (
    cast(Any, collections.abc.Callable),
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    type,
)
_LATER = (
    collections.abc.Generator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.Coroutine,
    collections.abc.Awaitable,
)
_FILES = (typing.IO, typing.TextIO, typing.BinaryIO)

_USE_A_STREAM = "a file; use a handle, and self.resource(handle) in the method"

_checked: WeakSet[Callable[..., Any]] = WeakSet()


def check_definition(cls: type[Any]) -> None:
    """Raise TypeError for an exported method whose arguments or result can certainly not be carried."""
    for base in cls.__mro__:
        for attribute in list(vars(base).values()):
            function = getattr(attribute, "__func__", attribute)
            if isinstance(function, types.FunctionType) and _is_call(function) and function not in _checked:
                _check_method(cls, function)
                _checked.add(function)


def _is_call(function: types.FunctionType) -> bool:
    markers = (MARKER_DRIVERCALL, MARKER_STREAMING_DRIVERCALL)
    return any(getattr(function, marker, None) == MARKER_MAGIC for marker in markers)


def _check_method(cls: type[Any], function: Callable[..., Any]) -> None:
    annotations = resolved_annotations(function)
    where = f"{cls.__qualname__}.{function.__name__}"
    for name, parameter in list(signature_of_callable(function).parameters.items())[1:]:
        if parameter.default is inspect.Parameter.empty and (problem := _problem(annotations.get(name, Any))):
            raise TypeError(f"{where}, parameter {name}: a client cannot send {problem}")
    if problem := _problem_of_result(annotations.get("return", Any)):
        raise TypeError(f"{where}, result: a client cannot receive {problem}")


def _problem_of_result(annotation: Any) -> str:
    """The same for a result; an iterator there is what a generator, or an override that is one, gives."""
    annotation = unwrapped(annotation)
    origin = typing.get_origin(annotation) or annotation
    if origin in _LATER or origin is collections.abc.Iterator:
        return _problem((typing.get_args(annotation) or (Any,))[0])
    return _problem(annotation)


def _problem(annotation: Any, above: tuple[type[Any], ...] = ()) -> str:
    """Why values of a type cannot travel, and what to use; empty where they can, or nobody knows."""
    annotation = unwrapped(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        problems = [_problem(member, above) for member in arguments]
        return problems[0] if all(problems) else ""
    if origin is typing.Annotated:
        own = any(hasattr(mark, "__get_pydantic_core_schema__") for mark in arguments[1:])
        return "" if own else _problem(arguments[0], above)
    cls = origin or annotation
    if cls in _CALLABLES:
        return "a function; use a name for what is to be done, as text or enum"
    if cls in _LATER:
        return f"an object of {cls.__name__}; use a list, or a byte stream by @exportstream"
    if cls in _FILES or (_is_class(cls) and issubclass(cls, io.IOBase)):
        return _USE_A_STREAM
    if cls in SEQUENCES or cls in LISTS or cls in MAPPINGS:
        return next((problem for item in arguments if item is not ... and (problem := _problem(item, above))), "")
    return _problem_of_class(annotation, above) if _is_class(annotation) else ""


def _is_class(annotation: Any) -> TypeGuard[type[Any]]:
    return isinstance(annotation, type)


def _problem_of_class(cls: type[Any], above: tuple[type[Any], ...]) -> str:
    if (
        cls in (Any, object, types.NoneType)
        or scalar_kind(cls) is not None
        or is_secret(cls)
        or issubclass(cls, Enum)
        or cls in above
    ):
        return ""
    if is_value_class(cls):
        for name, inner in field_annotations(cls, required=True).items():
            if problem := _problem(inner, (*above, cls)):
                return f"an object of {cls.__name__}, whose field {name} is {problem}"
        return ""
    if hasattr(cls, "enumerate") and hasattr(cls, "reset"):
        return f"a driver ({cls.__name__}); use its name, and self.children"
    if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False) or not _is_opaque(cls):
        return ""
    return f"an object of {cls.__name__}, of which nothing says what it is made of; use a dataclass or pydantic model"


def _is_opaque(cls: type[Any]) -> bool:
    """Whether not even pydantic can make values of a class."""
    from pydantic import PydanticSchemaGenerationError, TypeAdapter  # slow to import, and only such classes need it

    try:
        TypeAdapter(cls)
    except PydanticSchemaGenerationError:
        return True
    except Exception:  # noqa: BLE001 a name that nothing resolves yet, or what a class's own hooks raise
        return False
    return False
