"""`jmp discover`."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..common.text import one_line
from . import errors
from .group import examples

if TYPE_CHECKING:
    from ..driver.discovery import Found

INTERVAL = 1.0
"""Seconds between two looks of --watch."""


@click.command(
    epilog=examples(
        "jmp discover                       what is there, as YAML",
        "jmp discover --write lab.yaml      the same, for jmp run --exporter-config lab.yaml",
        "jmp discover --watch               what comes and goes, until Ctrl-C",
    )
)
@click.option(
    "--write", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Make this file."
)
@click.option("--watch", is_flag=True, help="Go on, and print what is plugged in and out.")
@errors.output_option
def discover(path: Path | None, watch: bool, output: str | None) -> None:
    """Find devices on this host, and print a configuration for them.

    Devices are named by what stays the same when they are plugged in elsewhere. What has to be known of one is a
    comment above it. Nothing is switched or opened.
    """
    if watch and (path is not None or output is not None):
        raise click.UsageError("--watch goes with neither --write nor -o")
    if path is not None and path.exists():
        raise errors.CommandError(f"{path} exists; choose another name, or remove it", errors.USAGE)
    if watch:
        _watch()
        return
    found = _look()
    if output == "json":
        _show_json(found)
    elif path is not None:
        _write(path, config_text(found))
        click.echo(
            f"{path}: {len(found)} device{'' if len(found) == 1 else 's'}; look at it, then: "
            f"jmp run --exporter-config {path}",
            err=True,
        )
    else:
        click.echo(config_text(found), nl=False)


def _look() -> dict[str, Found]:
    from ..driver.discovery import discover, named

    looked = discover()
    for problem in looked.problems:
        click.echo(f"jmp: warning: {problem}", err=True)
    found = named(looked.found)
    for name, one in found.items():
        for warning in one.warnings:
            click.echo(f"jmp: warning: {name}: {one_line(warning)}", err=True)
    if not found:
        click.echo("jmp: no devices found; jmp driver list shows which drivers look", err=True)
    return found


def config_text(found: dict[str, Found]) -> str:
    """An exporter's configuration, with comments."""
    from ..config.dumper import dump_text

    head: dict[str, Any] = {
        "apiVersion": "jumpstarter.dev/v1alpha1",
        "kind": "ExporterConfig",
        "metadata": {"namespace": "default", "name": socket.gethostname().partition(".")[0].lower() or "lab"},
    }
    if not found:
        return dump_text(head | {"export": {}})
    return dump_text(head) + "export:\n" + "".join(entry_text(name, one) for name, one in found.items())


def entry_text(name: str, one: Found) -> str:
    """One entry of it."""
    from ..config.dumper import dump_text

    entry: dict[str, Any] = {"type": one.type}
    if one.config:
        entry["config"] = dict(one.config)
    comments = [one.title, *(f"warning: {warning}" for warning in one.warnings)]
    lines = [f"# {one_line(comment)}" for comment in comments] + dump_text({name: entry}).splitlines()
    return "".join(f"  {line}\n" for line in lines)


def _show_json(found: dict[str, Found]) -> None:
    import json

    rows = [
        {
            "name": name,
            "type": one.type,
            "title": one.title,
            "config": dict(one.config),
            "warnings": list(one.warnings),
            "device": one.device,
        }
        for name, one in found.items()
    ]
    click.echo(json.dumps(rows, indent=2))


def _write(path: Path, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text)
    except OSError as e:
        raise errors.CommandError(f"{path}: {e.strerror}", errors.FAILED) from e


def _watch() -> None:
    from ..driver.discovery import discover, named

    before: dict[str, str] = {}
    while True:
        now = {_key(one): entry_text(name, one) for name, one in named(discover().found).items()}
        for key in before.keys() - now.keys():
            click.echo(f"- {before[key].splitlines()[0].strip(' #')}")
        for key in now.keys() - before.keys():
            click.echo(f"+ {now[key].splitlines()[0].strip(' #')}\n{now[key]}", nl=False)
        before = now
        time.sleep(INTERVAL)


def _key(one: Found) -> str:
    return f"{one.type} {one.device} {sorted(one.config.items())}"
