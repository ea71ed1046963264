"""The methods of a driver as its exporter describes them: checked, called by position or name, and shown."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import BoundArguments, Parameter, Signature
from typing import TYPE_CHECKING, Any, Literal

from ..common.limits import MAX_NAME
from ..common.scalars import Rule
from ..common.suggest import did_you_mean
from ..common.text import printable, printable_doc
from .core import is_typed
from .descriptors import is_handle, loads, member_of, rule_of, text_of
from .errors import DriverInvalidArgument

if TYPE_CHECKING:
    from .base import DriverClient

Kind = Literal["call", "streamingcall", "stream"]

_KINDS: dict[int, Kind] = {1: "call", 2: "streamingcall", 3: "stream"}

_PARAMETER_KINDS = {
    1: Parameter.POSITIONAL_OR_KEYWORD,
    2: Parameter.POSITIONAL_ONLY,
    3: Parameter.KEYWORD_ONLY,
    4: Parameter.VAR_POSITIONAL,
    5: Parameter.VAR_KEYWORD,
}

_SEVERAL = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
"""Kinds of parameters that take any number of arguments."""

_ANYTHING = Signature([Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)])
"""Of a method whose description makes no signature."""

_OF_CALL = ("method", "timeout")
"""Names that `DriverClient.call` has for itself."""


class Shown:
    """An annotation or default that is only there to be read."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False)
class Method:
    """One method of a driver."""

    descriptor: Any
    """Its MethodDescriptor message."""

    kind: Kind

    @property
    def name(self) -> str:
        return self.descriptor.name

    @cached_property
    def doc(self) -> str:
        """Its docstring, safe to be shown."""
        return printable_doc(self.descriptor.doc)

    @cached_property
    def types(self) -> dict[str, Any]:
        """The descriptors of its parameters' types by name."""
        return {parameter.name: parameter.type for parameter in self.descriptor.parameters}

    @cached_property
    def signature(self) -> Signature:
        """Its signature; of anything, where the description makes none."""
        try:
            parameters = [_parameter(parameter) for parameter in self.descriptor.parameters]
            if any(sum(p.kind is kind for p in parameters) > 1 for kind in _SEVERAL):
                return _ANYTHING
            return Signature(parameters, return_annotation=Shown(self._returned()))
        except (ValueError, KeyError):
            return _ANYTHING

    @property
    def takes_timeout(self) -> bool:
        """Whether `timeout` is a parameter of its own, and so cannot be the deadline of a call."""
        return "timeout" in self.signature.parameters

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        return {name: rule_of(described) for name, described in self.types.items()}

    def _returned(self) -> str:
        if self.kind == "stream":
            return "AbstractContextManager[BlockingStream]"
        result = text_of(self.descriptor.result)
        return result if self.kind == "call" else f"Generator[{result}]"

    def __str__(self) -> str:
        return f"{self.name}{self.signature}"

    def invoke(self, client: DriverClient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call it: the result, a generator of the items, or the context manager of a byte stream.

        Raises DriverInvalidArgument, before anything is sent, for arguments that do not fit.
        """
        timeout = None if self.takes_timeout or self.kind == "stream" else kwargs.pop("timeout", None)
        try:
            bound = self._bind(args, kwargs)
            self._check(bound.arguments)
        except ValueError as e:
            where = f"{client.path}.{self.name}" if client.path else self.name
            raise DriverInvalidArgument(
                f"{where}: {e}", driver=client.path, operation=self.name, reason=str(e)
            ) from None
        return self.send(client, bound, timeout)

    def send(self, client: DriverClient, bound: BoundArguments, timeout: float | None = None) -> Any:
        """Call it with arguments that have been checked."""
        if self.kind == "stream":
            return client.stream(self.name)
        self._fill(bound)
        client = _with_types(client)
        args, kwargs = bound.args, bound.kwargs
        streams = self.kind == "streamingcall"
        if any(name in kwargs for name in _OF_CALL):
            call = client._streamingcall if streams else client._call  # pyright: ignore[reportPrivateUsage] names clash
            return call(self.name, args, kwargs, timeout)
        more = {} if timeout is None else {"timeout": timeout}
        return (client.streamingcall if streams else client.call)(self.name, *args, **kwargs, **more)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BoundArguments:
        known = self.signature.parameters
        if not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values()):
            for name in kwargs:
                if name not in known:
                    raise ValueError(f"unknown parameter {name!r}{did_you_mean(name, known)} ({self})")
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as e:
            raise ValueError(f"{e} ({self})") from None

    def _check(self, arguments: Mapping[str, Any]) -> None:
        for name, value in arguments.items():
            kind = self.signature.parameters[name].kind
            items = (value.values() if kind is Parameter.VAR_KEYWORD else value) if kind in _SEVERAL else [value]
            for item in items:
                self.check(name, item)

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError unless a parameter takes the value."""
        rule = self._rules.get(name)
        if rule is None or is_handle(value):
            return
        try:
            rule.convert(value)
        except ValueError as e:
            raise ValueError(f"{name}: {e}") from None

    def _fill(self, bound: BoundArguments) -> None:
        """Give defaults to the parameters before one that only its position can carry."""
        names = list(self.signature.parameters)
        later = [index for index, name in enumerate(names) if name in bound.arguments and self._needs_position(name)]
        for name in names[: max(later, default=0)]:
            if name not in bound.arguments and (default := self.default(name)) is not ...:
                bound.arguments[name] = default
        bound.arguments = {name: bound.arguments[name] for name in names if name in bound.arguments}

    def _needs_position(self, name: str) -> bool:
        kind = self.signature.parameters[name].kind
        by_position = kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
        return by_position or (name in _OF_CALL and kind is Parameter.POSITIONAL_OR_KEYWORD)

    def default(self, name: str) -> Any:
        """The value of a parameter's default; `...` where it cannot be sent."""
        found = (parameter for parameter in self.descriptor.parameters if parameter.name == name)
        return next((loads(parameter.default) for parameter in found if parameter.HasField("default")), ...)


def _with_types(client: DriverClient) -> DriverClient:
    """The client, or where its class is not for typed results, another one of the same driver: what is described has
    the types that are told."""
    from .base import DriverClient

    if is_typed(type(client)):
        return client
    typed = DriverClient(
        uuid=client.uuid, labels=client.labels, stub=client.stub, portal=client.portal, stack=client.stack
    )
    typed.path = client.path
    return typed


def _parameter(descriptor: Any) -> Parameter:
    """A parameter; ValueError or KeyError where there can be no such one in Python."""
    if keyword.iskeyword(descriptor.name):
        raise ValueError(descriptor.name)
    default = Shown(shown_default(descriptor)) if descriptor.HasField("default") else Parameter.empty
    return Parameter(
        descriptor.name, _PARAMETER_KINDS[descriptor.kind], default=default, annotation=Shown(text_of(descriptor.type))
    )


def shown_default(descriptor: Any) -> str:
    """The default of a parameter as Python writes it, not too long."""
    default = loads(descriptor.default)
    member = member_of(descriptor.type, default)
    if member is not None:
        text = f"{text_of(descriptor.type)}.{member}"
    else:
        text = "..." if default is ... else printable(repr(default))
    return text if len(text) <= 60 else f"{text[:57]}..."


def methods_of(described: Any) -> dict[str, Method]:
    """The methods of a type by name, without those that no Python class could have for its users."""
    return {method.name: method for method in _methods(described)}


def _methods(described: Any) -> Iterator[Method]:
    for descriptor in described.methods if described is not None else ():
        kind = _KINDS.get(descriptor.kind)
        name: str = descriptor.name
        if kind is not None and name.isidentifier() and not name.startswith("_") and len(name) <= MAX_NAME:
            yield Method(descriptor, kind)


def method_of(client: DriverClient, name: str) -> Callable[..., Any] | None:
    """A described method of a client by its name, to be called; None where there is none."""
    method = methods_of(client.driver_type).get(name)
    if method is None:
        return None

    def call(*args: Any, **kwargs: Any) -> Any:
        return method.invoke(client, args, kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = method.doc or None
    call.__signature__ = method.signature  # pyright: ignore[reportFunctionMemberAccess]
    return call
