"""`j`: the commands of the devices that are attached."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from ..common.env import JUMPSTARTER_HOST
from . import errors
from .completion import complete, completing
from .devices import command_of, describe

_HELP = """Usage: j [OPTIONS] DEVICE [COMMAND] [ARGS]...

  Use the devices that are attached: those of the surrounding `jmp shell`, or
  of the one exporter that runs here. Without arguments, list them.

  Examples:
    j                  which devices there are, and their commands
    j power on
    j power --help
"""


def main() -> NoReturn:
    """Entry point of the command."""
    errors.finish(errors.run("j", lambda: _main(sys.argv[1:])))


def _main(args: list[str]) -> object:
    if args in (["--help"], ["-h"]):
        return _help()
    _find_exporter()
    from ..utils.env import env

    with env() as client:
        if not args and not completing("j"):
            click.echo(describe(client))
            return errors.OK
        command = command_of(client)
        if command is None:
            message = f"the exporter's one device ({type(client).__name__}) has no commands; use it from Python"
            raise click.UsageError(message)
        complete("j", command)
        return errors.invoke("j", command, args)


def _find_exporter() -> None:
    if not os.environ.get(JUMPSTARTER_HOST):
        from .running import running_exporter

        os.environ[JUMPSTARTER_HOST] = str(running_exporter())


def _help() -> int:
    """How to use `j`, and the devices if there are any."""
    from ..common.exceptions import ConnectionError

    click.echo(_HELP)
    try:
        _find_exporter()
        from ..utils.env import env

        with env() as client:
            click.echo(f"Devices:\n\n{describe(client)}")
    except (ConnectionError, click.ClickException) as e:
        click.echo(f"Devices: none ({getattr(e, 'message', e)})")
    return errors.OK
