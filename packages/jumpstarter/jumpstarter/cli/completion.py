"""`jmp completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .group import examples


@click.command(
    epilog=examples('eval "$(jmp completion bash)"', 'eval "$(jmp completion zsh)"', "jmp completion fish | source")
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell, for jmp and j."""
    for program in ("jmp", "j"):
        found = get_completion_class(shell)
        assert found is not None
        click.echo(found(click.Command(program), {}, program, f"_{program.upper()}_COMPLETE").source())
