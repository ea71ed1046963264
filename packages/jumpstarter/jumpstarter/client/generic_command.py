"""A method of a driver as a command: an option per parameter; those without a default can also be given by position."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ..common.suggest import did_you_mean
from ..common.text import one_line
from .described import Method
from .generic_output import JSON, OUTPUT, write_items, write_result
from .generic_slots import Slot
from .generic_values import GUARD, NEGATIVE

if TYPE_CHECKING:
    from .base import DriverClient

_REST = "_rest"
"""Name of the argument that takes what has no option before it."""

_DEADLINE = "_deadline"


class MethodCommand(click.Command):
    """Calls one method and prints what it returns, item by item where it streams."""

    def __init__(self, client: DriverClient, method: Method, text: str) -> None:
        self._client = client
        self._method = method
        self._slots = [Slot(method, parameter) for parameter in method.signature.parameters.values()]
        self._required = [slot for slot in self._slots if slot.is_required]
        params: list[click.Parameter] = [slot.option() for slot in self._slots if slot.has_option]
        if method.kind != "stream" and not method.takes_timeout:
            params.append(_deadline())
        if self._required or any(not slot.has_option for slot in self._slots):
            params.append(click.Argument([_REST], nargs=-1, type=click.UNPROCESSED))
        super().__init__(
            method.name.replace("_", "-"),
            help=text or None,
            params=params,
            context_settings={"token_normalize_func": _with_dashes},
        )

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The options, and the parameters that can be given by position."""
        return ["[OPTIONS]", *(piece for slot in self._slots if (piece := slot.usage))]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, but a negative number is not taken for an option."""
        end = args.index("--") if "--" in args else len(args)
        guarded = [GUARD + arg if NEGATIVE.match(arg) else arg for arg in args[:end]] + args[end:]
        try:
            return super().parse_args(ctx, guarded)
        except click.NoSuchOption as e:
            wrong = one_line(e.option_name)[:60]
            if wrong in ("-o", "--output"):
                ctx.fail(f"no option {wrong} here; write it before the device: j -o json ...")
            ctx.fail(f"no option {wrong}{did_you_mean(wrong, [slot.flag for slot in self._slots if slot.has_option])}")

    def invoke(self, ctx: click.Context) -> None:
        """Call the method, and print what it returns."""
        as_json = ctx.meta.get(OUTPUT) == JSON
        if as_json and self._method.kind == "stream":
            ctx.fail(f"{self.name} is a byte stream, which has no JSON form")
        bound = self._method.signature.bind_partial()
        bound.arguments = self._arguments(ctx)
        result = self._method.send(self._client, bound, ctx.params.get(_DEADLINE))
        match self._method.kind:
            case "call":
                write_result(result, as_json)
            case "streamingcall":
                write_items(result, as_json)
            case "stream":
                from .bridge import join

                with result as stream:
                    join(stream)

    def _arguments(self, ctx: click.Context) -> dict[str, Any]:
        """The arguments by name, in the order of the parameters; UsageError for what is wrong, missing or too much."""
        texts = {slot.name: slot.texts(ctx.params.get(slot.name)) for slot in self._slots if slot.has_option}
        given = {slot.name: found for slot in self._slots if (found := texts.get(slot.name))}
        rest = [text.removeprefix(GUARD) for text in ctx.params.get(_REST) or ()]
        missing = [slot for slot in self._required if slot.name not in given]
        for index, slot in enumerate(missing):
            count = slot.positions(len(rest) - (len(missing) - index - 1))
            if len(rest) < count:
                self._ask_or_fail(ctx, missing[index:], given)
                break
            given[slot.name], rest = rest[:count], rest[count:]
        variadic = next((slot for slot in self._slots if not slot.has_option), None)
        if rest and variadic is not None:
            given[variadic.name] = rest
        elif rest:
            self._fail_unexpected(ctx, rest)
        return {slot.name: slot.value(given[slot.name], ctx) for slot in self._slots if slot.name in given}

    def _ask_or_fail(self, ctx: click.Context, missing: list[Slot], given: dict[str, list[str]]) -> None:
        """Ask for secrets, since others see command lines; fail for everything else that is missing."""
        for slot in missing:
            if slot.type.kind != "secret" or not sys.stdin.isatty():
                names = [f"{slot.name.upper()} ({slot.metavar})" for slot in missing if slot.name not in given]
                ctx.fail(f"missing {' and '.join(names)}")
            given[slot.name] = [click.prompt(slot.name, hide_input=True, err=True)]

    def _fail_unexpected(self, ctx: click.Context, rest: list[str]) -> NoReturn:
        options = [slot.flag for slot in self._slots if not slot.is_required]
        hint = f"; other parameters are options: {', '.join(options)}" if options else ""
        ctx.fail(f"unexpected argument {one_line(' '.join(rest))[:60]!r}{hint}")


def _with_dashes(token: str) -> str:
    return token.replace("_", "-")


def _deadline() -> click.Option:
    seconds = click.FloatRange(min=0, min_open=True)
    return click.Option([_DEADLINE, "--timeout"], type=seconds, metavar="SECONDS", help="Give up after that time.")
