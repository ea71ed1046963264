"""Descriptors of a driver class's methods and of the types in their annotations, for the report."""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import MISSING, fields
from enum import Enum
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.annotations import resolved_annotations
from ..common.convert import unwrapped
from ..common.objects import is_model
from ..common.typed import dumps
from .kinds import LISTS, MAPPINGS, SEQUENCES, is_secret, is_value_class, scalar_kind
from .table import ExportedMethod, Kind, exported_methods, result_annotation

MAX_LEVELS = 16
"""How deep the descriptor of a type goes; protobuf itself ends at 100 messages inside one another."""

_METHODS: dict[Kind, pb.MethodDescriptor.Kind] = {
    "call": pb.MethodDescriptor.CALL,
    "streamingcall": pb.MethodDescriptor.STREAMING_CALL,
    "stream": pb.MethodDescriptor.BYTE_STREAM,
}

_PARAMETERS: dict[Any, pb.ParameterDescriptor.Kind] = {
    inspect.Parameter.POSITIONAL_OR_KEYWORD: pb.ParameterDescriptor.PLAIN,
    inspect.Parameter.POSITIONAL_ONLY: pb.ParameterDescriptor.POSITIONAL_ONLY,
    inspect.Parameter.KEYWORD_ONLY: pb.ParameterDescriptor.KEYWORD_ONLY,
    inspect.Parameter.VAR_POSITIONAL: pb.ParameterDescriptor.VARIADIC,
    inspect.Parameter.VAR_KEYWORD: pb.ParameterDescriptor.VARIADIC_KEYWORDS,
}

_types: WeakKeyDictionary[type, pb.DriverType] = WeakKeyDictionary()


def type_name(cls: type[Any]) -> str:
    """How the report names a class of drivers."""
    return f"{cls.__module__}.{cls.__qualname__}"


def describe_type(cls: type[Any]) -> pb.DriverType:
    """What a class of drivers exports; made once per class, not to be changed."""
    found = _types.get(cls)
    if found is None:
        methods = [_method(cls, method) for _, method in sorted(exported_methods(cls).items())]
        found = _types[cls] = pb.DriverType(name=type_name(cls), doc=_class_doc(cls), methods=methods)
    return found


def describe(annotation: Any) -> pb.TypeDescriptor:
    """The type that an annotation names; `any` where that cannot be told."""
    return _describe(annotation, ())


def default_text(default: object) -> str:
    """Typed JSON of a default; what has no form there is `...`."""
    try:
        return dumps(default)
    except Exception:  # noqa: BLE001 whatever an object that is no value does when it is looked at
        return dumps(...)


def _class_doc(cls: type[Any]) -> str:
    """The docstring of a class, but for the signature that a dataclass without one gets."""
    doc = vars(cls).get("__doc__") or ""
    return "" if doc.startswith(f"{cls.__name__}(") else inspect.cleandoc(doc)


def _method(cls: type[Any], method: ExportedMethod) -> pb.MethodDescriptor:
    descriptor = pb.MethodDescriptor(
        name=method.name,
        kind=_METHODS[method.kind],
        doc=_method_doc(cls, method),
        read_only=method.options.read_only,
    )
    if method.kind == "stream":
        return descriptor
    annotations = resolved_annotations(method.function)
    descriptor.parameters.extend(
        _parameter(parameter, annotations.get(parameter.name, Any)) for parameter in method.parameters.values()
    )
    result = result_annotation(method.kind, annotations)
    if result is not Any:
        descriptor.result.CopyFrom(describe(result))
    return descriptor


def _method_doc(cls: type[Any], method: ExportedMethod) -> str:
    """The docstring of a method, or of the one that it overrides."""
    owners = (vars(base).get(method.name) for base in cls.__mro__)
    doc = next((doc for doc in (getattr(owner, "__doc__", None) for owner in (method.function, *owners)) if doc), "")
    return inspect.cleandoc(doc)


def _parameter(parameter: inspect.Parameter, annotation: Any) -> pb.ParameterDescriptor:
    descriptor = pb.ParameterDescriptor(
        name=parameter.name, kind=_PARAMETERS[parameter.kind], type=describe(annotation)
    )
    if parameter.default is not inspect.Parameter.empty:
        descriptor.default = default_text(parameter.default)
    return descriptor


def _describe(annotation: Any, above: tuple[type[Any], ...]) -> pb.TypeDescriptor:
    annotation = unwrapped(annotation)
    if annotation is None or annotation is types.NoneType:
        return pb.TypeDescriptor(kind="none")
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if type(annotation).__name__ == "TypeAliasType":  # Python 3.12; it may refer to itself, so it costs a level
        return _describe_below(annotation.__value__, (*above, type(None)))
    if origin is typing.Annotated:
        return _describe(arguments[0], above)
    if origin is typing.Literal:
        return pb.TypeDescriptor(kind="literal", choices=[default_text(choice) for choice in arguments])
    if origin is typing.Union or origin is types.UnionType:
        return pb.TypeDescriptor(kind="union", items=[_describe(member, above) for member in arguments])
    if isinstance(origin or annotation, type):
        return _describe_class(origin or annotation, arguments, above)
    return pb.TypeDescriptor(kind="any")


def _describe_below(annotation: Any, above: tuple[type[Any], ...]) -> pb.TypeDescriptor:
    return _describe(annotation, above) if len(above) < MAX_LEVELS else pb.TypeDescriptor(kind="any")


def _describe_class(cls: type[Any], arguments: tuple[Any, ...], above: tuple[type[Any], ...]) -> pb.TypeDescriptor:
    item = partial(_describe_below, above=(*above, cls))
    if (kind := scalar_kind(cls)) is not None:
        return pb.TypeDescriptor(kind=kind)
    if cls in SEQUENCES or cls in LISTS:
        return _describe_sequence(
            SEQUENCES.get(cls, "list"), [item(argument) for argument in _items(arguments)], arguments
        )
    if cls in MAPPINGS:
        key_and_value = arguments if len(arguments) == 2 else (Any, Any)
        return pb.TypeDescriptor(kind="dict", items=[item(argument) for argument in key_and_value])
    if issubclass(cls, Enum):
        choices = [f"{name}={default_text(member.value)}" for name, member in cls.__members__.items()]
        return pb.TypeDescriptor(kind="enum", name=type_name(cls), choices=choices)
    if is_secret(cls):
        return pb.TypeDescriptor(kind="secret")
    if typing.is_typeddict(cls):
        return pb.TypeDescriptor(kind="dict", items=[pb.TypeDescriptor(kind="str"), pb.TypeDescriptor(kind="any")])
    if is_value_class(cls):
        return _describe_object(cls, above)
    return pb.TypeDescriptor(kind="any")


def _items(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(argument for argument in arguments if argument is not Ellipsis)


def _describe_sequence(kind: str, items: list[pb.TypeDescriptor], arguments: tuple[Any, ...]) -> pb.TypeDescriptor:
    variadic = kind == "tuple" and (not arguments or arguments[-1] is Ellipsis)
    return pb.TypeDescriptor(kind=kind, items=items, variadic=variadic)


def _describe_object(cls: type[Any], above: tuple[type[Any], ...]) -> pb.TypeDescriptor:
    """An object with its fields; one inside itself has a name only."""
    descriptor = pb.TypeDescriptor(kind="object", name=type_name(cls))
    if cls not in above and len(above) < MAX_LEVELS:
        descriptor.fields.extend(object_fields(cls, above))
    return descriptor


def object_fields(cls: type[Any], above: tuple[type[Any], ...]) -> list[pb.ParameterDescriptor]:
    """The fields that an object of a dataclass or model is made of."""
    if is_model(cls):
        model = cast("dict[str, Any]", cast("Any", cls).model_fields)
        return [_field(name, field.annotation, _model_default(field), (*above, cls)) for name, field in model.items()]
    annotations = resolved_annotations(cls)
    return [
        _field(
            field.name, annotations.get(field.name, Any), _default(field.default, field.default_factory), (*above, cls)
        )
        for field in fields(cls)
        if field.init
    ]


def _field(name: str, annotation: Any, default: str | None, above: tuple[type[Any], ...]) -> pb.ParameterDescriptor:
    return pb.ParameterDescriptor(
        name=name, kind=pb.ParameterDescriptor.PLAIN, type=_describe_below(annotation, above), default=default
    )


def _model_default(field: Any) -> str | None:
    if field.is_required():
        return None
    return _default(MISSING if field.default_factory is not None else field.default, field.default_factory)


def _default(default: object, factory: Any) -> str | None:
    if default is not MISSING:
        return default_text(default)
    if factory in (list, dict, set, tuple, frozenset, str):
        return default_text(cast("object", factory()))
    return None if factory is MISSING or factory is None else default_text(...)
