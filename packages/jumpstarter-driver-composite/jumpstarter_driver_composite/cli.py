"""The commands of a composite: those of its children, each under the child's name."""

import logging
from typing import TYPE_CHECKING, Any

import click
from jumpstarter.client import DriverClient
from jumpstarter.client.decorators import DriverClickGroup
from jumpstarter.common.suggest import did_you_mean

if TYPE_CHECKING:
    from .client import CompositeClient

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class ChildrenGroup(DriverClickGroup):
    """Commands of its own, and one per child, which is made when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the children that have commands, and of the group's own commands."""
        return [*self._children(), *(name for name in super().list_commands(ctx) if name not in self._children())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; one of the group's own goes before a child's."""
        own = super().get_command(ctx, cmd_name)
        child = self._children().get(cmd_name)
        return own or (child.cli() if child is not None else None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but with a suggestion for a name that is wrong."""
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and not ctx.resilient_parsing and args[0] not in known:
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], known)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; what the exporter says of a child saves making its commands."""
        names = self.list_commands(ctx)
        if names:
            width = formatter.width - 6 - max(map(len, names))
            with formatter.section("Commands"):
                formatter.write_dl([(name, self._about(ctx, name, width)) for name in names])

    def _about(self, ctx: click.Context, name: str, width: int) -> str:
        child = self._children().get(name)
        if child is not None and name not in self.commands and child.description:
            return child.description
        command = self.get_command(ctx, name)
        return command.get_short_help_str(width) if command is not None else ""

    def _children(self) -> dict[str, Any]:
        """The children that have commands: those with a class of their own, or described by the exporter."""
        children = self.client.children if self.client is not None else {}
        return {name: child for name, child in children.items() if hasattr(child, "cli")}


def children_commands(client: "CompositeClient") -> ChildrenGroup:
    """The command group of a composite."""

    @click.group(cls=ChildrenGroup, help=client.description or "Use the devices of this group.")
    @click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        help="Show what the clients of this group log, from that level up.",
    )
    def base(log_level: str | None) -> None:
        if log_level is not None:
            _show_log(client, log_level.upper())

    base.client = client
    return base


def add_methods(client: "CompositeClient", group: ChildrenGroup) -> None:
    """Make commands of what the exporter says that the composite itself exports."""
    if client.driver_type is not None and client.driver_type.methods:
        from jumpstarter.client.generic_cli import commands_of

        own = commands_of(client)
        with click.Context(own) as context:
            for name in own.own_commands():
                if name not in client.children and (command := own.get_command(context, name)) is not None:
                    group.add_command(command)


def _show_log(client: DriverClient, level: str) -> None:
    """Let a client and those below it log from a level up, and nobody else in the process."""
    if not client.logger.hasHandlers():
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    client.log_level = level
    client.logger.setLevel(level)
    for child in client.children.values():
        _show_log(child, level)
