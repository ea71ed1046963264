"""The client of a driver that is used through its children."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jumpstarter.client import DriverClient
from jumpstarter.common.suggest import did_you_mean

if TYPE_CHECKING:
    import click


@dataclass(kw_only=True)
class CompositeClient(DriverClient):
    """The children are attributes: `client.power.on()`. So are the exported methods of a composite of somebody else."""

    def __getattr__(self, name: str) -> Any:
        children: dict[str, DriverClient] = self.__dict__.get("children", {})
        if name in children:
            return children[name]
        described = self.__dict__.get("driver_type")
        if described is not None and any(method.name == name for method in described.methods):
            from jumpstarter.client.described import method_of

            if (method := method_of(self, name)) is not None:
                return method
        where = f"{self.__dict__.get('path') or 'the root'} ({type(self).__name__})"
        there = f"children: {', '.join(children)}" if children else "it has no children"
        problem = f"{where} has no attribute or child {name!r}{did_you_mean(name, children)} ({there})"
        if unavailable := self.__dict__.get("unavailable"):
            problem += f"; it is {unavailable}"
        raise AttributeError(problem, name=name, obj=self)

    def __dir__(self) -> list[str]:
        """Attributes and children, for completion."""
        return sorted({*super().__dir__(), *self.children})

    def cli(self) -> "click.Group":
        """One command per child that has commands, and per exported method where nobody wrote other ones."""
        from .cli import add_methods, children_commands

        commands = children_commands(self)
        if type(self) is CompositeClient:
            add_methods(self, commands)
        return commands
