"""`jmp version`."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of

import click

from . import errors
from .group import examples


@click.command(epilog=examples("jmp version", "jmp version -o json"))
@errors.output_option
def version(output: str | None) -> None:
    """Show the version of Jumpstarter and of the Python that runs it."""
    ours, python = version_of("jumpstarter"), ".".join(map(str, sys.version_info[:3]))
    if output == "json":
        import json

        click.echo(json.dumps({"jumpstarter": ours, "python": python, "executable": sys.executable}))
    else:
        click.echo(f"Jumpstarter {ours} (Python {python}, {sys.prefix})")
