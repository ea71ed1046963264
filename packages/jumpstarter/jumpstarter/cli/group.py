"""A click group that knows its commands by name and imports one only when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from ..common.suggest import did_you_mean

_ALIASES = {
    "shell": ("sh", "s"),
    "version": ("ver", "v"),
    "config": ("conf",),
    "list": ("ls",),
    "get": ("g",),
    "create": ("c",),
    "delete": ("del", "d", "rm"),
    "exporter": ("exporters", "e"),
    "exporters": ("exporter", "e"),
    "client": ("clients", "c"),
    "lease": ("leases", "l"),
    "leases": ("lease", "l"),
}


class LazyGroup(click.Group):
    """Commands are given as `name: ("module:attribute", "what it does")`."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name or alias, imported now."""
        name = next((n for n, aliases in _ALIASES.items() if cmd_name in aliases and n in self._table), cmd_name)
        entry = self._table.get(cmd_name) or self._table.get(name)
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        return getattr(import_module(module), attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but with a suggestion for a name that is wrong."""
        if args and not args[0].startswith("-") and not ctx.resilient_parsing and not self.get_command(ctx, args[0]):
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], self._table)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, importing nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._table.items()])


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
