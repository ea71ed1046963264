"""`jmp config`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .devices import Row, draw
from .group import LazyGroup, examples

if TYPE_CHECKING:
    from ..config.entry import ExporterConfigV1Alpha1DriverInstance


@click.group(
    cls=LazyGroup,
    table={
        "check": ("jumpstarter.cli.config:check", "Say whether an exporter would start with a file"),
        "client": ("jumpstarter.cli.configclient:client", "Look after the configurations of clients"),
        "exporter": ("jumpstarter.cli.configexporter:exporter", "Look after the configurations of exporters"),
    },
    epilog=examples("jmp config check lab.yaml"),
)
def config() -> None:
    """Look after configuration files."""


@click.command(epilog=examples("jmp config check lab.yaml", "jmp config check *.yaml"))
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def check(files: tuple[str, ...]) -> int:
    """Say whether an exporter would start with FILE, and with which drivers.

    No hardware is touched. Every problem is one line FILE:LINE:COLUMN with status 65.
    """
    from . import errors

    return max(errors.run("jmp", lambda file=file: _check(Path(file))) for file in files)


def _check(path: Path) -> None:
    from ..config.exporter import ExporterConfigV1Alpha1, check_file

    check_file(path)
    export = ExporterConfigV1Alpha1.load_path(path).export
    count = _count(export)
    click.echo(f"{path}: ok, {count} driver{'' if count == 1 else 's'}")
    if export:
        click.echo(draw(_rows(export)))


def _rows(entries: Mapping[str, ExporterConfigV1Alpha1DriverInstance]) -> list[Row]:
    return [Row(name, _text(entry), _rows(entry.children)) for name, entry in entries.items()]


def _text(entry: ExporterConfigV1Alpha1DriverInstance) -> str:
    if entry.ref is not None:
        return f"→ {entry.ref}"
    return entry.type or ""


def _count(entries: Mapping[str, ExporterConfigV1Alpha1DriverInstance]) -> int:
    return sum((entry.type is not None) + _count(entry.children) for entry in entries.values())
