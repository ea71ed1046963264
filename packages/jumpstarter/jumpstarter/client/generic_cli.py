"""The command line of a driver, made from what its exporter says of it: one command per method and per child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..common.suggest import did_you_mean
from ..common.text import one_line, printable, printable_doc
from .decorators import DriverClickGroup
from .described import Method, methods_of
from .descriptors import name_of

if TYPE_CHECKING:
    from .base import DriverClient


def commands_of(client: DriverClient) -> GenericGroup:
    """The command group of a client that has no commands of its own."""
    return GenericGroup(client)


class GenericGroup(DriverClickGroup):
    """A command per exported method, made when it is used, and those of the children below their names.

    A client class can add commands, which replace those of the same name.
    """

    def __init__(self, client: DriverClient) -> None:
        described = client.driver_type
        doc = printable_doc(described.doc) if described is not None else ""
        name = client.path.rpartition(".")[2] or (name_of(described) if described is not None else "")
        super().__init__(help=printable(client.description or "") or doc or f"Use {one_line(name) or 'the device'}.")
        self.client = self._client = client
        self._methods = {method.name.replace("_", "-"): method for method in methods_of(described).values()}

    def own_commands(self) -> list[str]:
        """The commands that are methods of the driver itself."""
        return list(dict.fromkeys([*self._methods, *self.commands]))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Own commands first, then the children that have any."""
        return [*self.own_commands(), *self._children()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; a method may be spelled with underscores, too."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        method = self._methods.get(cmd_name) or self._methods.get(cmd_name.replace("_", "-"))
        child = self._children().get(cmd_name)
        if method is None or (child is not None and cmd_name not in self._methods):
            return child.cli() if child is not None else None
        from .generic_command import MethodCommand

        return MethodCommand(self._client, method, help_of(self._client, method))

    def _children(self) -> dict[str, Any]:
        """Children that have commands, by command name: where a method has it, an underscore follows."""
        return {
            f"{name}_" if name in self._methods else name: child
            for name, child in self._client.children.items()
            if hasattr(child, "cli")
        }

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but with a suggestion for a name that is wrong."""
        if args and not args[0].startswith("-") and not ctx.resilient_parsing and not self.get_command(ctx, args[0]):
            ctx.fail(f"no command {one_line(args[0])!r}{did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without making them."""
        rows = [(name, self._about(name)) for name in self.own_commands()]
        rows += [(one_line(name), _about_child(child)) for name, child in self._children().items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def _about(self, name: str) -> str:
        if name in self.commands:
            return self.commands[name].get_short_help_str(200)
        return one_line(help_of(self._client, self._methods[name]).strip().partition("\n")[0])[:200]


def _about_child(child: DriverClient) -> str:
    described = child.driver_type
    doc = child.description or (described.doc if described is not None else "")
    return one_line(doc.strip().partition("\n")[0])[:200] or "Use this device."


def help_of(client: DriverClient, method: Method) -> str:
    """What the exporter's configuration says of a command, or else the docstring."""
    texts = client.methods_description
    text = texts.get(method.name.replace("_", "-")) or texts.get(method.name)
    return printable(text) if text else method.doc
