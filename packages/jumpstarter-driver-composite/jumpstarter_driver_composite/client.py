"""The client of a driver that is used through its children."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jumpstarter.client import DriverClient
from jumpstarter.common.suggest import did_you_mean

if TYPE_CHECKING:
    import click


@dataclass(kw_only=True)
class CompositeClient(DriverClient):
    """The children are attributes: `client.power.on()`."""

    def __getattr__(self, name: str) -> Any:
        children: dict[str, DriverClient] = self.__dict__.get("children", {})
        if name in children:
            return children[name]
        where = f"{self.__dict__.get('path') or 'the root'} ({type(self).__name__})"
        there = f"children: {', '.join(children)}" if children else "it has no children"
        problem = f"{where} has no attribute or child {name!r}{did_you_mean(name, children)} ({there})"
        raise AttributeError(problem, name=name, obj=self)

    def __dir__(self) -> list[str]:
        """Attributes and children, for completion."""
        return sorted({*super().__dir__(), *self.children})

    def close(self) -> None:
        """End what this client and those of its children have opened."""
        for child in self.children.values():
            child.close()
        super().close()

    def cli(self) -> "click.Group":
        """One command per child that has commands."""
        from .cli import children_commands

        return children_commands(self)
