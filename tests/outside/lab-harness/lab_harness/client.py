"""The client of the debugger; everything else has that of its kind."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jumpstarter_driver_composite.client import CompositeClient

if TYPE_CHECKING:
    import click


def _address(text: str) -> int:
    return int(text, 0)


@dataclass(kw_only=True)
class MyDebuggerClient(CompositeClient):
    """A debug probe with a console beside it."""

    def halt(self, at: int | None = None) -> str:
        """Stop the core, at an address if one is given; returns where."""
        return self.call("halt", at)

    def resume(self) -> None:
        """Let the core run. Raises ValueError if it does."""
        self.call("resume")

    def cli(self) -> "click.Group":
        """The commands of the console, `halt` and `resume`."""
        import click

        base = super().cli()

        @base.command()
        @click.option("--at", metavar="ADDRESS", type=_address, help="Where to stop.")
        def halt(at: int | None) -> None:
            """Stop the core and print where."""
            click.echo(self.halt(at))

        @base.command()
        def resume() -> None:
            """Let the core run."""
            self.resume()

        return base
