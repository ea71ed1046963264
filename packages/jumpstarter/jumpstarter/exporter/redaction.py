"""What of a call may be kept: its arguments, shortened, without what is secret."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import typing
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, cast
from urllib.parse import quote, urlsplit

from ..common.annotations import resolved_annotations, signature_of_callable
from ..common.text import HIDDEN, redacted
from ..driver.base import Driver

MAX_ARGUMENT = 200
"""Most characters of one text in the arguments of a call."""

MAX_TEXT = 2000
"""Most characters of any other text: a line of log, the reason of a failure."""

SLACK = 512
"""Characters beyond those limits that are looked at, so that no part of a secret is left where a text is cut."""

_MOST_SECRETS = 64
_LEAST_SECRET = 4
"""Shorter ones are not looked for in texts: they would blot out everything."""

_HUGE = 1 << 64

_NODES, _CHARACTERS, _ITEMS = 48, 2048, 16
"""Of the arguments of one call, and of one list or mapping in them."""

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secret|token|credentials?|(?:api|private|secret|access)_?key)s?(?:$|_)",
    re.IGNORECASE,
)
_SECRET_CLASSES = ("SecretStr", "SecretBytes", "Secret", "_SecretBase")

Values = tuple[Sequence[Any], Mapping[str, Any]]
"""Positional and keyword arguments."""


class Secrets:
    """Texts that are never written: those that are known to be secret, and what looks like one.

    `hide` is called from any thread, `clean` by one thread.
    """

    def __init__(self, pinned: Iterable[str] = ()) -> None:
        self._pinned = dict.fromkeys(piece for secret in pinned for piece in _pieces(secret))
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._pieces: list[str] = []
        self._changed = True

    def hide(self, value: object) -> None:
        """Never write this value's texts; the ones that were hidden longest ago make room."""
        for text in _texts(value):
            if text in self._recent:
                continue
            for piece in _pieces(text):
                self._recent[piece] = None
            while len(self._recent) > _MOST_SECRETS:
                self._recent.popitem(last=False)
            self._changed = True

    def clean(self, text: str, limit: int = MAX_TEXT) -> str:
        """The text without secrets, cut after `limit` characters."""
        whole = len(text) <= limit + SLACK
        if not whole:
            text = text[: limit + SLACK]
        if self._changed:
            self._changed = False
            self._pieces = sorted({*self._pinned, *self._recent.copy()}, key=len, reverse=True)
        for piece in self._pieces:
            if piece in text:
                text = text.replace(piece, HIDDEN)
        if not whole:
            text = text[:-SLACK]  # what was cut may have left a part of a secret at the end
        text = redacted(text)
        return text if whole and len(text) <= limit else f"{text[:limit]}…"

    def clean_value(self, value: Any, limit: int = MAX_TEXT) -> Any:
        """A value as JSON has it, every text in it cleaned."""
        if type(value) is str:
            return self.clean(value, limit)
        if value is None or isinstance(value, bool | int | float):
            return value if math.isfinite(value or 0) else str(value)
        if isinstance(value, Mapping):
            items = cast("Mapping[object, Any]", value).items()
            return {
                self.clean(str(key), limit): HIDDEN if is_secret_name(str(key)) else self.clean_value(item, limit)
                for key, item in items
            }
        if isinstance(value, list | tuple):
            return [self.clean_value(item, limit) for item in cast("list[Any]", value)]
        return self.clean(str(value), limit)


def _pieces(secret: str) -> Iterable[str]:
    """What to look for to find a secret, also where it is quoted, and where only a part of a long one is shown."""
    forms = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, safe="")}
    for form in forms:
        for start in range(0, min(len(form), 64 * SLACK), SLACK):
            if len(piece := form[start : start + SLACK]) >= _LEAST_SECRET:
                yield piece


def _texts(value: object, depth: int = 3) -> Iterable[str]:
    """The texts and numbers in a secret value."""
    if hasattr(value, "get_secret_value"):
        value = cast(Any, value).get_secret_value()
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
        if isinstance(value, float) and value.is_integer():
            yield str(int(value))
    elif isinstance(value, Mapping | list | tuple | set | frozenset) and depth:
        values = cast(Any, value).values() if isinstance(value, Mapping) else cast("Iterable[Any]", value)
        for item in islice(values, _ITEMS):
            yield from _texts(item, depth - 1)


class Parameters:
    """The parameters of an exported method, and which of them take secrets."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _parameters(self) -> tuple[list[inspect.Parameter], dict[str, Any]]:
        try:
            found = list(signature_of_callable(self._function).parameters.values())[1:]
        except (TypeError, ValueError):
            found = []
        return found, resolved_annotations(self._function)

    @cached_property
    def secret(self) -> frozenset[str]:
        """Names of the parameters that are declared as secrets, or named like one."""
        parameters, annotations = self._parameters
        return frozenset(
            parameter.name
            for parameter in parameters
            if is_secret_name(parameter.name) or _declares_secret(annotations.get(parameter.name), set())
        )

    @cached_property
    def _positional(self) -> list[str]:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [parameter.name for parameter in self._parameters[0] if parameter.kind in kinds]

    def hide(self, values: Values, secrets: Secrets) -> None:
        """Tell `secrets` of the values that secret parameters got."""
        if self.secret:
            named = self._named(values)
            for name, value in named.items():
                if name in self.secret or not self._fits(named):
                    secrets.hide(value)

    def shown(self, values: Values, secrets: Secrets) -> dict[str, Any]:
        """The arguments by the parameters' names, as JSON has them."""
        named = self._named(values)
        if self.secret and not self._fits(named):  # whoever mistakes the place may have put a secret in another
            return dict.fromkeys(named, HIDDEN)
        return {
            name: HIDDEN if name in self.secret else secrets.clean_value(value, MAX_ARGUMENT)
            for name, value in named.items()
        }

    def _named(self, values: Values) -> dict[str, Any]:
        args, kwargs = values
        named = dict(zip(self._positional, args, strict=False))
        if len(args) > len(self._positional):
            rest = inspect.Parameter.VAR_POSITIONAL
            name = next((parameter.name for parameter in self._parameters[0] if parameter.kind is rest), "args")
            named[f"*{name}" if name in named else name] = list(args[len(self._positional) :])
        return {**named, **kwargs}

    def _fits(self, named: Mapping[str, Any]) -> bool:
        return named.keys() <= {parameter.name for parameter in self._parameters[0]}


def secrets_of(root: Driver) -> list[str]:
    """The secrets in the configuration of a tree of drivers."""
    found: list[str] = []
    for _, _, _, driver in root.enumerate():
        for name, value in vars(driver).items():
            if hasattr(value, "get_secret_value") or (is_secret_name(name) and isinstance(value, str | bytes)):
                found += _texts(value)
    return found


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether what has such a name is a secret, whatever its type."""
    return _SECRET_NAME.search(name) is not None


def _declares_secret(annotation: Any, seen: set[int]) -> bool:
    """Whether a value of that type is a secret, or has one in it."""
    if annotation is None or isinstance(annotation, str) or id(annotation) in seen:
        return False
    seen.add(id(annotation))
    if any(_declares_secret(argument, seen) for argument in typing.get_args(annotation)):
        return True
    cls: Any = typing.get_origin(annotation) or annotation
    if not isinstance(cls, type):
        return False
    if any(base.__name__ in _SECRET_CLASSES and base.__module__.startswith("pydantic") for base in cls.__mro__):
        return True
    described: Any = cls
    if dataclasses.is_dataclass(cls) or hasattr(described, "model_fields") or hasattr(described, "__total__"):
        return any(_declares_secret(field, seen) for field in resolved_annotations(cls).values())
    return False


def shortened(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Values:
    """The arguments as they are now, in bounded time and size; later changes of theirs do not show."""
    if not kwargs and all(map(_is_short, args)):
        return tuple(args), kwargs
    budget = _Budget()
    short = tuple([budget.take(value) for value in args[:_ITEMS]])
    if len(args) > _ITEMS:
        short += (f"… {len(args) - _ITEMS} more",)
    return short, {str(name)[:MAX_ARGUMENT]: budget.take(value) for name, value in islice(kwargs.items(), _ITEMS)}


def _is_short(value: Any) -> bool:
    """Whether a value can be kept as it is; most are such."""
    if type(value) is str:
        return len(value) <= MAX_ARGUMENT
    if type(value) is float:
        return math.isfinite(value)
    return value is None or value is True or value is False or (type(value) is int and -_HUGE < value < _HUGE)


class _Budget:
    """How much of the arguments of one call is still to be shown."""

    __slots__ = ("characters", "nodes")

    def __init__(self) -> None:
        self.nodes, self.characters = _NODES, _CHARACTERS

    def take(self, value: Any, depth: int = 4) -> Any:
        """The value, shortened."""
        self.nodes -= 1
        if isinstance(value, str):
            if len(value) > MAX_ARGUMENT + SLACK:
                value = value[: MAX_ARGUMENT + SLACK + 1]
            if len(value) > self.characters:
                return f"… {len(value)} characters"
            self.characters -= len(value)
            return value
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if value.bit_length() <= 256 else f"… an integer of {value.bit_length()} bits"
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, bytes | bytearray):
            return f"… {len(value)} bytes" if len(value) > MAX_ARGUMENT // 2 else value.hex(" ")
        if hasattr(value, "get_secret_value"):
            return HIDDEN
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if self.nodes <= 0 or not depth:
                return f"… {len(cast('list[Any]', value))} items"
            return self._container(cast(Any, value), depth)
        text = f"{type(value).__name__} {value}" if _is_plain(value) else f"<{type(value).__name__}>"
        return text[: MAX_ARGUMENT + SLACK]

    def _container(self, value: Any, depth: int) -> Any:
        if not isinstance(value, Mapping):
            items = [self.take(item, depth - 1) for item in islice(value, min(_ITEMS, self.nodes))]
            if len(value) > len(items):
                items.append(f"… {len(value) - len(items)} more")
            return items
        mapping = cast("Mapping[Any, Any]", value)
        if "kind" in mapping and ("uuid" in mapping or "url" in mapping):
            return _handle(mapping)
        shown = {
            str(key)[: MAX_ARGUMENT + SLACK]: self.take(item, depth - 1)
            for key, item in islice(mapping.items(), min(_ITEMS, self.nodes))
        }
        if len(mapping) > len(shown):
            shown["…"] = f"{len(mapping) - len(shown)} more"
        return shown


def _is_plain(value: object) -> bool:
    """Whether the value's text is short and says what it is: a date, a path, a number of another kind."""
    return type(value).__module__ in ("datetime", "uuid", "decimal", "pathlib")


def _handle(handle: Mapping[Any, Any]) -> str:
    """A file that is handed over: where from, without headers and query, which have signatures."""
    url = str(handle.get("url") or "")
    if not url:
        return "<file of the client>"
    try:
        parts = urlsplit(url)
        return f"<file {parts.scheme}://{parts.hostname or ''}{parts.path}>"[:MAX_ARGUMENT]
    except ValueError:
        return "<file>"
