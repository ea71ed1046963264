"""One parameter of a method on a command line: its option, and how many texts become its value."""

from __future__ import annotations

from inspect import Parameter
from typing import Any, cast

import click
from click.shell_completion import CompletionItem

from ..common.text import one_line
from .described import Method
from .descriptors import member_of
from .generic_output import compact, plain
from .generic_values import ANY, GUARD, choice_texts, mapping, metavar, parse

_COLLECTIONS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_MAPPINGS = ("dict", "object")
_VAGUE = ("any", "str", "secret", "")


class _Text(click.ParamType):  # pyright: ignore[reportMissingTypeArgument] older versions of click take none
    """Text that is parsed later, with the choices that it may be."""

    name = "text"

    def __init__(self, described: Any) -> None:
        self._described = described

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The choices that begin with what was typed."""
        return [CompletionItem(text) for text in choice_texts(self._described) if text.startswith(incomplete)]


class Slot:
    """One parameter."""

    def __init__(self, method: Method, parameter: Parameter) -> None:
        self.name = parameter.name
        self._method = method
        self._parameter = parameter
        self._declared = method.types.get(self.name, ANY)
        self.type = _without_none(self._declared)
        self.has_option = parameter.kind is not Parameter.VAR_POSITIONAL
        self._is_pairs = parameter.kind is Parameter.VAR_KEYWORD
        self._is_fixed = self.type.kind == "tuple" and bool(self.type.items) and not self.type.variadic
        self._is_mapping = self._is_pairs or self.type.kind in _MAPPINGS
        self._is_collection = not self.has_option or (self.type.kind in _COLLECTIONS and not self._is_fixed)
        self.is_required = self.has_option and not self._is_pairs and parameter.default is Parameter.empty

    @property
    def flag(self) -> str:
        """Its option; `help` is click's own."""
        return "--help-" if self.name == "help" else f"--{self.name.replace('_', '-')}"

    @property
    def metavar(self) -> str:
        """What help shows in place of a value."""
        return "KEY=VALUE" if self._is_pairs else metavar(self.type)

    @property
    def usage(self) -> str:
        """Where it is given by position, in the line that help begins with."""
        if not self.has_option:
            return f"[{self.name.upper()}]..."
        several = "..." if self._is_collection or self._is_mapping or self._is_fixed else ""
        return f"{self.name.upper()}{several}" if self.is_required else ""

    def option(self) -> click.Option:
        """The option."""
        remark = "[required]" if self.is_required else self._default()
        if self.type.kind == "bool" and not self._is_pairs and f"no_{self.name}" not in self._method.types:
            return click.Option([self.name, f"{self.flag}/--no-{self.flag[2:]}"], default=None, help=remark)
        repeats = self._is_collection or self._is_mapping
        return click.Option(
            [self.name, self.flag],
            type=_Text(self._item if self._is_collection else self.type),
            multiple=repeats,
            nargs=len(self.type.items) if self._is_fixed else 1,
            metavar=self.metavar,
            help=f"Can be repeated. {remark}".strip() if repeats else remark,
        )

    def _default(self) -> str:
        """What help says of the default, as it would be typed."""
        default = self._method.default(self.name)
        if default is ... or default is None or self._is_pairs:
            return ""
        value = plain(default)
        text = one_line(member_of(self.type, default) or (value if isinstance(value, str) else compact(value)))
        return f"[default: {text if len(text) <= 60 else f'{text[:57]}...'}]" if text else ""

    def texts(self, found: Any) -> list[str]:
        """What click has found for the option, as texts; empty where it was not given."""
        if found is None:
            return []
        if isinstance(found, bool):
            return ["true" if found else "false"]
        texts: list[str] = [found] if isinstance(found, str) else list(found)
        return [text.removeprefix(GUARD) for text in texts]

    def positions(self, available: int) -> int:
        """How many of the texts without an option it takes."""
        if self._is_fixed:
            return len(self.type.items)
        return max(available, 1) if self._is_collection or self._is_mapping else 1

    def value(self, texts: list[str], ctx: click.Context) -> Any:
        """The value of the texts; BadParameter where they are none."""
        try:
            value = self._value(texts)
            if self.has_option and not self._is_pairs:
                self._method.check(self.name, value)
        except ValueError as e:
            problem = one_line(str(e)).removeprefix(f"{self.name}: ")
            raise click.BadParameter(problem, ctx, param_hint=f"'{self.flag if self.has_option else self.name}'") from e
        return value

    def _value(self, texts: list[str]) -> Any:
        if self.type is not self._declared and self.type.kind not in _VAGUE and texts == ["null"]:
            return None
        if self._is_mapping:
            return mapping(ANY, texts, self._declared) if self._is_pairs else mapping(self.type, texts)
        if self._is_fixed:
            if len(texts) != len(self.type.items):
                raise ValueError(f"expected {len(self.type.items)} values, got {len(texts)}")
            return tuple(parse(item, text) for item, text in zip(self.type.items, texts, strict=True))
        if self._is_collection:
            if texts == ["[]"] and self._item.kind not in _VAGUE:
                texts = []
            build = _COLLECTIONS[self.type.kind] if self.has_option else tuple
            return cast("Any", build([parse(self._item, text) for text in texts]))
        return parse(self.type, texts[-1])

    @property
    def _item(self) -> Any:
        """The type of each item of a collection."""
        if not self.has_option:
            return self._declared
        return self.type.items[0] if self.type.items else ANY


def _without_none(described: Any) -> Any:
    """A type that may be None, without that."""
    members = [item for item in described.items if item.kind != "none"] if described.kind == "union" else []
    return members[0] if len(members) == 1 else described
