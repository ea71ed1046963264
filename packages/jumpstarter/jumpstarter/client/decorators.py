"""Click commands of a client, whose help texts the exporter can replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import click

if TYPE_CHECKING:
    from .base import DriverClient

Function = Callable[..., Any]


class DriverClickGroup(click.Group):
    """A group whose commands take their help from the exporter's `methods_description`, where it has one."""

    client: DriverClient | None = None

    @overload
    def command(self, __func: Function) -> click.Command: ...
    @overload
    def command(self, *args: Any, **kwargs: Any) -> Callable[[Function], click.Command]: ...

    def command(self, *args: Any, **kwargs: Any) -> Callable[[Function], click.Command] | click.Command:
        """Make a function a command of this group, with or without parentheses."""
        if len(args) == 1 and callable(args[0]) and not kwargs:
            return self._register((), {})(args[0])
        return self._register(args, kwargs)

    def _register(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Function], click.Command]:
        def register(func: Function) -> click.Command:
            name = kwargs.get("name") or (args[0] if args else func.__name__.lower().replace("_", "-"))
            described = self.client.methods_description.get(name) if self.client is not None else None
            options = {**kwargs, "name": name, **({"help": described} if described else {})}
            made = click.command(*args[1:], **options)(func)
            self.add_command(made)
            return made

        return register


def driver_click_group(client: DriverClient, **kwargs: Any) -> Callable[[Function], DriverClickGroup]:
    """Decorator: make a function the click group of a client, with the exporter's description as its help."""

    def decorate(func: Function) -> DriverClickGroup:
        options = {**kwargs, **({"help": client.description} if client.description else {})}
        group = click.group(cls=DriverClickGroup, **options)(func)
        group.client = client
        return group

    return decorate


def driver_click_command(client: DriverClient, **kwargs: Any) -> Callable[[Function], click.Command]:
    """Decorator: make a function the one click command of a client, with the exporter's description as its help."""

    def decorate(func: Function) -> click.Command:
        options: dict[str, Any] = {**kwargs, **({"help": client.description} if client.description else {})}
        return click.command(cls=click.Command, **options)(func)

    return decorate
