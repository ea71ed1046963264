"""The command line of a driver, made from what its exporter says of it: one command per method and per child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..common.suggest import did_you_mean
from ..common.text import one_line, printable
from .described import Method, methods_of, shown_doc
from .descriptors import name_of

if TYPE_CHECKING:
    from .base import DriverClient


def commands_of(client: DriverClient) -> GenericGroup:
    """The command group of a client that has no commands of its own."""
    return GenericGroup(client)


class GenericGroup(click.Group):
    """A command per exported method, made when it is used, and those of the children below their names."""

    def __init__(self, client: DriverClient) -> None:
        described = client.driver_type
        doc = shown_doc(described.doc) if described is not None else ""
        name = client.name or (name_of(described) if described is not None else "")
        super().__init__(help=printable(client.description or "") or doc or f"Use {one_line(name) or 'the device'}.")
        self.client = client
        self.methods = {method.name.replace("_", "-"): method for method in methods_of(described).values()}

    def own_commands(self) -> list[str]:
        """The commands that are methods of the driver itself."""
        return list(self.methods)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Own commands first, then the children that have any."""
        return [*self.methods, *self._children()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; a method may be spelled with underscores, too."""
        method = self.methods.get(cmd_name) or self.methods.get(cmd_name.replace("_", "-"))
        child = self._children().get(cmd_name)
        if method is None or (child is not None and cmd_name not in self.methods):
            return child.cli() if child is not None else None
        from .generic_command import MethodCommand

        return MethodCommand(self.client, method, help_of(self.client, method))

    def _children(self) -> dict[str, Any]:
        """Children that have commands, by command name: where a method has it, an underscore follows."""
        return {
            f"{name}_" if name in self.methods else name: child
            for name, child in self.client.children.items()
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
        rows = [(name, _about(self.client, method)) for name, method in self.methods.items()]
        rows += [(one_line(name), _about_child(child)) for name, child in self._children().items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _about_child(child: DriverClient) -> str:
    described = child.driver_type
    doc = child.description or (described.doc if described is not None else "")
    return one_line(doc.strip().partition("\n")[0])[:200] or "Use this device."


def _about(client: DriverClient, method: Method) -> str:
    return one_line(help_of(client, method).strip().partition("\n")[0])[:200]


def help_of(client: DriverClient, method: Method) -> str:
    """What the exporter's configuration says of a command, or else the docstring."""
    texts = client.methods_description
    text = texts.get(method.name.replace("_", "-")) or texts.get(method.name)
    return printable(text) if text else method.doc
