"""A client for any driver, made from what its exporter says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import Parameter
from typing import Any, ClassVar

from ..common.limits import MAX_NAME
from ..common.suggest import did_you_mean
from ..common.text import printable_doc
from .base import DriverClient, StubDriverClient
from .described import Method, methods_of
from .descriptors import name_of


@dataclass(kw_only=True)
class GenericClient(DriverClient):
    """A driver without a client class of its own here: its exported methods, and its children, are attributes.

    Arguments are checked before they are sent, and `timeout=` is a deadline in seconds unless the method has such a
    parameter. A name that is taken, by an attribute of every client or a child's by a method, is reached with an
    underscore after it: `client.stream_()`.
    """

    _methods: ClassVar[dict[str, Method]] = {}
    """The driver's methods, by their names at the exporter."""

    def __getattr__(self, name: str) -> Any:
        children: dict[str, DriverClient] = self.__dict__.get("children", {})
        child = children.get(name) or (children.get(name[:-1]) if name.endswith("_") else None)
        if child is not None:
            return child
        if name.startswith("_"):
            raise AttributeError(name, name=name, obj=self)
        where = f"{self.__dict__.get('path') or 'the root'} ({type(self).__name__})"
        known = [*(attribute_name(method) for method in self._methods), *children]
        has = f"it has {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}" if known else "it has no methods"
        problem = f"{where} has no method or child {name!r}{did_you_mean(name, known)} ({has})"
        raise AttributeError(problem, name=name, obj=self)

    def __dir__(self) -> list[str]:
        """Attributes and children, for completion."""
        return sorted({*super().__dir__(), *self.children})


def attribute_name(method: str) -> str:
    """The attribute by which a method is reached."""
    return f"{method}_" if method in _TAKEN else method


@dataclass(kw_only=True)
class StandInClient(GenericClient, StubDriverClient):
    """The generic client of a driver whose own client class cannot be used here; `reason` says why."""


_TAKEN = {*dir(StandInClient), *(field.name for field in fields(StandInClient)), "cli"} - {"status"}


def class_for(described: Any, base: type[GenericClient] = GenericClient) -> type[GenericClient]:
    """The class of the clients of one type of drivers."""
    name = name_of(described)
    methods = methods_of(described)
    hidden_first = sorted(methods.values(), key=lambda method: method.name not in _TAKEN)
    members: dict[str, Any] = {
        **{attribute_name(method.name): _function(method) for method in hidden_first},
        "__doc__": printable_doc(described.doc) or GenericClient.__doc__,
        "__module__": __name__,
        "_methods": methods,
    }
    is_name = name.isidentifier() and len(name) <= MAX_NAME
    return type(f"{name}Client" if is_name else "GenericClient", (base,), members)


def _function(method: Method) -> Callable[..., Any]:
    """A method as a function of a class, with the signature and the docstring that it has at the exporter."""

    def call(self: GenericClient, /, *args: Any, **kwargs: Any) -> Any:
        return method.invoke(self, args, kwargs)

    signature = method.signature
    receiver = Parameter("self" if "self" not in signature.parameters else "client_", Parameter.POSITIONAL_ONLY)
    call.__signature__ = signature.replace(  # pyright: ignore[reportFunctionMemberAccess]
        parameters=[receiver, *signature.parameters.values()]
    )
    call.__name__ = call.__qualname__ = attribute_name(method.name)
    call.__doc__ = method.doc or None
    return call
