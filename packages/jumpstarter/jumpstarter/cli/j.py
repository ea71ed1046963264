"""`j`: the commands of the devices that are attached."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from ..common.env import JMP_SUPPRESS_DRIVER_WARNINGS, JUMPSTARTER_HOST
from ..common.text import one_line
from . import errors
from .completion import complete, completing
from .devices import command_of, describe, describe_as_json, unavailable

OUTPUT = "jumpstarter.output"
"""Key of `click.Context.meta` under which commands find the format of their output."""

_HELP = """Usage: j [OPTIONS] DEVICE [COMMAND] [ARGS]...

  Use the devices that are attached: those of the surrounding `jmp shell`, or
  of the one exporter that runs here. Without arguments, list them.

  Examples:
    j                  which devices there are, and their commands
    j power on
    j power --help
    j -o json          the same list for programs

Options:
  -o, --output json  Print results, the list of devices, and errors as JSON.
  --help             Show this message and exit.
"""


def main() -> NoReturn:
    """Entry point of the command."""
    errors.finish(errors.run("j", lambda: _main(sys.argv[1:])))


def _main(args: list[str]) -> object:
    as_json, args = _take_output(args)
    errors.use_json(as_json)
    if args in (["--help"], ["-h"]):
        return _help()
    _find_exporter()
    if args:  # the list of devices is the place for warnings, not every command
        os.environ[JMP_SUPPRESS_DRIVER_WARNINGS] = "1"
    from ..utils.env import env

    with env() as client:
        if not args and not completing("j"):
            click.echo(describe_as_json(client) if as_json else describe(client))
            return errors.OK
        command = command_of(client)
        if command is None:
            message = f"the exporter's one device ({type(client).__name__}) has no commands; use it from Python"
            raise click.UsageError(message)
        complete("j", command)
        try:
            return errors.invoke("j", command, args, meta={OUTPUT: "json"} if as_json else {})
        except click.UsageError as e:  # what is below an absent device is not known, and so no command
            if reason := unavailable(client, args):
                raise reason from e
            raise


def _take_output(args: list[str]) -> tuple[bool, list[str]]:
    """Whether JSON is asked for, by an option before the device, and the rest of the arguments."""
    match args:
        case ["-o" | "--output", "json", *rest] | ["-ojson" | "--output=json", *rest]:
            return True, rest
        case ["-o" | "--output"]:
            raise click.UsageError(f"{args[0]} needs a format; json is the only one")
        case ["-o" | "--output", other, *_]:
            raise click.UsageError(f"no format {one_line(other)!r}; json is the only one")
        case _:
            return False, args


def _find_exporter() -> None:
    if not os.environ.get(JUMPSTARTER_HOST):
        from .running import running_exporter

        os.environ[JUMPSTARTER_HOST] = str(running_exporter(choice="attach to one with jmp shell --name NAME"))


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
