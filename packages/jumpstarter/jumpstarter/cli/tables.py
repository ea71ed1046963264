"""What a controller told, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from . import errors


def output_options(*forms: str) -> Any:
    """`-o FORM`: json, yaml, name or path, of which some make sense for a command."""

    def choose(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value == "json":
            errors.use_json()
        return value

    return click.option(
        "-o", "--output", type=click.Choice(forms), callback=choose, is_eager=True, help="Print for programs instead."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their names."""
    lines = [[name.upper() for name in head], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def write(data: Any, form: str) -> None:
    """Print plain data as JSON or YAML."""
    if form == "json":
        import json

        click.echo(json.dumps(data, indent=2))
        return
    from ..config.dumper import dump_text

    click.echo(dump_text(data), nl=False)


def labels(values: Mapping[str, str]) -> str:
    """Labels as `k=v,k=v`."""
    return ",".join(f"{key}={value}" for key, value in sorted(values.items()))
