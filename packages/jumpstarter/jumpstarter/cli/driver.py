"""`jmp driver`."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from importlib.metadata import EntryPoint, entry_points

import click

from ..common.text import one_line
from . import errors
from .group import LazyGroup, examples

_GROUP = "jumpstarter.drivers"


@click.group(
    cls=LazyGroup,
    table={
        "list": ("jumpstarter.cli.driver:list_drivers", "Show the installed drivers, and whether they load"),
        "version": ("jumpstarter.cli.version:version", "Show the version"),
        "udev": ("jumpstarter.cli.udev:udev", "Print rules for udev that give access to their devices"),
    },
    epilog=examples("jmp driver list"),
)
def driver() -> None:
    """Look at the drivers that are installed."""


@click.command("list", epilog=examples("jmp driver list", "jmp driver list -o json"))
@errors.output_option
def list_drivers(output: str | None) -> None:
    """Show the installed drivers, and whether they load.

    TYPE is what a configuration names. A driver that does not load is listed with the reason.
    """
    found = sorted(entry_points(group=_GROUP), key=lambda entry: (_distribution(entry)[0], entry.name))
    rows = [_row(entry) for entry in found]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("no drivers are installed; pip install jumpstarter-driver-power is one to begin with", err=True)
        return
    table = [("NAME", "TYPE", "PACKAGE", "VERSION", "")]
    table += [(r["name"], r["type"], r["distribution"], r["version"], _remark(r["error"])) for r in rows]
    click.echo(_columns(table))


def _row(entry: EntryPoint) -> dict[str, str | None]:
    name, version = _distribution(entry)
    return {
        "name": entry.name,
        "type": entry.value.replace(":", "."),
        "distribution": name,
        "version": version,
        "entry_point": f"{_GROUP}: {entry.name} = {entry.value}",
        "error": _load_error(entry),
    }


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist is not None else ("", "")


def _load_error(entry: EntryPoint) -> str | None:
    """Why the driver cannot be used; what it prints when it is imported does not count as our output."""
    from ..driver.base import Driver

    try:
        with redirect_stdout(sys.stderr):
            loaded: object = entry.load()
    except (Exception, SystemExit) as e:  # noqa: BLE001 whatever a package does on import, the list goes on
        return one_line(f"{type(e).__name__}: {e}")
    if not (isinstance(loaded, type) and issubclass(loaded, Driver)):
        return "not a driver class"
    return None


def _remark(error: str | None) -> str:
    return f"does not load: {error}" if error else ""


def _columns(rows: list[tuple[str | None, ...]]) -> str:
    cells = [[one_line(cell or "") for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)
