"""`jmp`: run exporters, and get hold of their devices."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from . import errors
from .completion import complete
from .group import LazyGroup, examples


@click.group(
    cls=LazyGroup,
    table={
        "shell": ("jumpstarter.cli.shell:shell", "Run a command, or a shell, with an exporter's devices attached"),
        "run": ("jumpstarter.cli.run:run", "Serve the devices of a configuration until stopped"),
        "status": ("jumpstarter.cli.status:status", "Show what an exporter does and which devices can be used"),
        "login": ("jumpstarter.cli.login:login", "Get access to a controller"),
        "get": ("jumpstarter.cli.leases:get", "Show the exporters or leases of a controller"),
        "create": ("jumpstarter.cli.leases:create", "Ask a controller for a lease"),
        "update": ("jumpstarter.cli.leases:update", "Change a lease"),
        "delete": ("jumpstarter.cli.leases:delete", "End leases"),
        "config": ("jumpstarter.cli.config:config", "Look after configuration files"),
        "record": ("jumpstarter.cli.record:record", "Look at what was done in sessions"),
        "discover": ("jumpstarter.cli.discover:discover", "Find devices on this host, and print a configuration"),
        "driver": ("jumpstarter.cli.driver:driver", "Look at the drivers that are installed"),
        "demo": ("jumpstarter.cli.demo:demo", "Show a guided tour of a simulated board"),
        "completion": ("jumpstarter.cli.completion:completion", "Print the completion script of a shell"),
        "version": ("jumpstarter.cli.version:version", "Show the version"),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "jmp demo                                             a first look, no hardware needed",
        "jmp shell --exporter-config lab.yaml -- j power on   one command with the devices of a file",
        "jmp run --exporter-config lab.yaml                   serve them to others",
    ),
)
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False),
    metavar="LEVEL",
    help="Least severe messages to show: DEBUG, INFO (default of run), WARNING (default), ERROR, CRITICAL.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors (also: JMP_DEBUG=1).")
@click.pass_context
def cli(ctx: click.Context, log_level: str | None, debug: bool) -> None:
    """Use hardware that sits on somebody else's desk.

    Exit status: 0 it worked, 2 wrong use, 65 configuration, 69 exporter not reachable, 70 driver failed,
    75 busy, 77 not allowed; jmp shell has the status of its command.
    """
    ctx.obj = log_level
    if debug:
        os.environ["JMP_DEBUG"] = "1"


def main() -> NoReturn:
    """Entry point of the command."""
    complete("jmp", cli)
    status = errors.run("jmp", lambda: errors.invoke("jmp", cli, sys.argv[1:]))
    errors.finish(status)
