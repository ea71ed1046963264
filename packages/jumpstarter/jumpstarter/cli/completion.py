"""`jmp completion`, and the answers to the shells that it sets up."""

from __future__ import annotations

import os
import sys

import click

from .group import examples


def completing(program: str) -> bool:
    """Whether a shell asks for completions."""
    return f"_{program.upper()}_COMPLETE" in os.environ


def complete(program: str, command: click.Command) -> None:
    """Answer a shell that asks for completions, and end; does nothing where none does."""
    variable = f"_{program.upper()}_COMPLETE"
    if instruction := os.environ.get(variable):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(command, {}, program, variable, instruction))


@click.command(
    epilog=examples('eval "$(jmp completion bash)"', 'eval "$(jmp completion zsh)"', "jmp completion fish | source")
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell, for jmp and j."""
    from click.shell_completion import get_completion_class

    for program in ("jmp", "j"):
        found = get_completion_class(shell)
        assert found is not None
        click.echo(found(click.Command(program), {}, program, f"_{program.upper()}_COMPLETE").source())
