"""`jmp driver udev`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.resources import files

import click

from .group import examples

FILE = "udev.rules"
"""File of a driver's package that has its rules."""


@click.command(
    epilog=examples(
        "jmp driver udev",
        "jmp driver udev | sudo tee /etc/udev/rules.d/70-jumpstarter.rules",
        "sudo udevadm control --reload && sudo udevadm trigger",
    )
)
def udev() -> None:
    """Print the rules for udev by which members of the group jumpstarter may use the devices of installed drivers.

    The group is yours to make: sudo groupadd --system jumpstarter; sudo usermod --append --groups jumpstarter USER.
    """
    found = list(_rules())
    if not found:
        click.echo("jmp: no installed driver has rules for udev", err=True)
    click.echo("\n".join(f"# {package}\n{text}" for package, text in found), nl=False)


def _rules() -> Iterator[tuple[str, str]]:
    """Names of packages and their rules."""
    for package in sorted({entry.module.partition(".")[0] for entry in entry_points(group="jumpstarter.drivers")}):
        try:
            yield package, (files(package) / FILE).read_text()
        except (OSError, ImportError):  # most have none
            continue
