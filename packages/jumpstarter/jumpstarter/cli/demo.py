"""`jmp demo`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

from . import errors
from .group import examples


@click.command(epilog=examples("jmp demo"), context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def demo(args: tuple[str, ...]) -> object:
    """Show a guided tour of a simulated board: power, console, tunnel, readings."""
    if find_spec("jumpstarter_driver_virtual") is None:
        message = "the simulated board is not installed; pip install jumpstarter-driver-virtual"
        raise errors.CommandError(message, errors.CONFIG)
    tour = import_module("jumpstarter_driver_virtual.demo")
    return tour.main(*args)
