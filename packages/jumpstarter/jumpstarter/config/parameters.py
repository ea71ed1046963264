"""The arguments of a driver's constructor: what its signature takes, checked and converted by its annotations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, ForwardRef, cast

from ..common.annotations import resolved_annotations, signature_of_callable
from ..common.convert import expectation
from ..common.exceptions import ConfigurationError
from ..common.suggest import did_you_mean
from .classes import common_parameters
from .place import Place
from .problems import Problems
from .schema import convert, suggests

OWN_KEYS = ("description", "methods_description", "children")
"""Arguments that are keys of an entry, not of its `config`."""

_SECRET = re.compile(r"pass(word|phrase|wd)|secret|token|credential|(api|private)_?key", re.IGNORECASE)


@dataclass(frozen=True)
class Parameter:
    """One argument that a constructor takes by name."""

    annotation: Any
    default: Any = MISSING

    def convert(self, name: str, value: Any, place: Place, problems: Problems) -> Any:
        """The value as the annotation wants it; MISSING if it is wrong."""
        if value is None and self.default is None:
            return None
        return convert(self.annotation, value, place, problems, secret=bool(_SECRET.search(name)))


@dataclass(frozen=True)
class Signature:
    """What a constructor takes."""

    parameters: dict[str, Parameter]
    takes_more: bool
    """It takes any other name too."""

    def takes(self, name: str) -> bool:
        """Whether an argument of that name can be given."""
        return self.takes_more or name in self.parameters


@cache
def signature_of(cls: type[Any]) -> Signature:
    """What the constructor of a class takes, by name; of `**kwargs`, what the bases take as well."""
    try:
        own = signature_of_callable(cls)
    except (ValueError, TypeError):  # a class that hides it
        return Signature({}, takes_more=True)
    types = _types(cls)
    takes_more = False
    parameters: dict[str, Parameter] = {}
    for name, parameter in own.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            default = MISSING if _is_required(cls, parameter) else parameter.default
            unresolved = isinstance(parameter.annotation, str | ForwardRef)
            annotation = types.get(name, Any) if unresolved else parameter.annotation
            parameters[name] = Parameter(Any if name in _converted_by_class(cls) else annotation, default)
    if takes_more:
        owners = [base for base in cls.__mro__[:-1] if "__init__" in vars(base)]
        inherited = signature_of(owners[1]).parameters if len(owners) > 1 else {}
        # the class may give them itself, so none is required here
        parameters = {name: Parameter(known.annotation, default=...) for name, known in inherited.items()} | parameters
    return Signature(parameters, takes_more)


def _is_required(cls: Any, parameter: inspect.Parameter) -> bool:
    """Whether there is no default; the signature of a pydantic dataclass does not always show that."""
    namespace = cast("dict[str, Any]", vars(cls))
    field: Any = namespace.get("__pydantic_fields__", {}).get(parameter.name)
    return parameter.default is inspect.Parameter.empty if field is None else bool(field.is_required())


def _types(cls: Any) -> dict[str, Any]:
    """The annotations of the constructor, and of the fields, which bases in other modules may define."""
    constructor: Callable[..., Any] = cls.__init__
    own = resolved_annotations(constructor) if inspect.isfunction(constructor) else {}
    names = {field.name for field in fields(cls)} if is_dataclass(cls) else set[str]()
    return own | {name: kind for name, kind in resolved_annotations(cls).items() if name in names}


def _converted_by_class(cls: type[Any]) -> set[str]:
    """Fields that a pydantic class brings into form itself before it checks them."""
    decorators: Any = getattr(cls, "__pydantic_decorators__", None)
    validators: list[Any] = list(decorators.field_validators.values()) if decorators is not None else []
    return {name for validator in validators if validator.info.mode != "after" for name in validator.info.fields}


def arguments(cls: type[Any], config: dict[str, Any], place: Place, problems: Problems) -> dict[str, Any]:
    """The arguments from the `config` of an entry at a place, converted."""
    signature, values = signature_of(cls), dict[str, Any]()
    advice = ""
    for name, value in config.items():
        below = place / "config" / name
        parameter = signature.parameters.get(name)
        if name in OWN_KEYS:
            problems.add(below, "belongs beside 'type', not under 'config'")
        elif parameter is not None:
            values[name] = parameter.convert(name, value, below, problems)
            if name == "on_release":
                _check_on_release(cls, value, below, problems)
        elif signature.takes_more:
            values[name] = value
        else:
            advice += (instead := _advice(cls, name, signature))
            problems.add(below, f"unknown parameter of {cls.__name__}{instead}")
    for name, parameter in signature.parameters.items():
        is_needed = parameter.default is MISSING and name not in config and name not in OWN_KEYS
        if is_needed and not suggests(advice, name):
            kind = expectation(parameter.annotation)
            problems.add(place, f"{cls.__name__} needs the parameter {name!r} ({kind}) under 'config'")
    return values


def _check_on_release(cls: type[Any], value: Any, place: Place, problems: Problems) -> None:
    """Ask a driver's class what its instances would say."""
    check: Callable[[Any], None] | None = getattr(cls, "_check_on_release", None)
    if check is None or value is None:
        return
    try:
        check(value)
    except ConfigurationError as e:
        problems.add(place, str(e))


def _advice(cls: type[Any], name: str, signature: Signature) -> str:
    if is_dataclass(cls) and any(field.name == name and not field.init for field in fields(cls)):
        return f"; {cls.__name__} sets it itself"
    names = [known for known in signature.parameters if known not in OWN_KEYS]
    if similar := did_you_mean(name, names):
        return similar
    own = [known for known in names if known not in common_parameters()]
    return f"; it takes {', '.join(own)}" if own else "; it takes none"
