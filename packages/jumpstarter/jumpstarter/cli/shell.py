"""`jmp shell`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common.failures import code_of, exit_of
from ..common.text import printable
from . import attach, errors, logs, options, prompt
from .attach import Attachment, Terms
from .child import run_child
from .group import examples
from .running import running_exporter

if TYPE_CHECKING:
    from ..client.connection import Endpoint


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog=examples(
        "jmp shell                                            the one exporter running here",
        "jmp shell --exporter-config lab.yaml -- j power on   the devices of a file, one command",
        "jmp shell --tls-grpc lab1:8083 --passphrase-file secret -- pytest",
    ),
)
@options.config_options
@options.exporter_options
@click.option(
    "--wait",
    is_flag=False,
    flag_value=inf,
    type=click.FloatRange(min=0),
    metavar="[SECONDS]",
    help="Wait for your turn when somebody else has the exporter, for ever or so long.",
)
@click.option("--exporter-logs", is_flag=True, help="Show the exporter's log on stderr.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def shell(
    log_level: str | None,
    exporter_config: str | None,
    exporter: str | None,
    name: str | None,
    socket: str | None,
    address: str | None,
    insecure: bool,
    tls_ca: str | None,
    passphrase: str | None,
    passphrase_file: str | None,
    wait: float | None,
    exporter_logs: bool,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND, or a shell, with the devices of an exporter attached.

    Inside, `j` uses the devices, and nobody else can. The status of COMMAND is the status of `jmp shell`. The
    passphrase can also stand in JMP_GRPC_PASSPHRASE.
    """
    configs = {"--exporter-config": exporter_config, "--exporter": exporter}
    options.check_one({**configs, "--name": name, "--socket": socket, "--tls-grpc": address})
    options.check_tls(address, insecure, tls_ca, passphrase, passphrase_file)
    config = options.load_config(exporter_config, exporter)
    if config is not None and wait is not None:
        raise click.UsageError("--wait is for an exporter that runs already; nobody else has the one of a file")
    terms = Terms(
        purpose=Path(command[0]).name if command else "a shell",  # the arguments may have secrets
        wait=None if wait == inf else wait or 0,
        logs=exporter_logs,
    )
    attached: AbstractContextManager[Attachment]
    if config is not None:
        logs.to_stderr(log_level or ("INFO" if exporter_logs else "WARNING"))
        attached = attach.local(config, terms)
    else:
        logs.to_stderr(log_level or "WARNING", exporters=exporter_logs)
        if address is not None:
            secret = options.find_passphrase(passphrase, passphrase_file)
            attached = attach.tcp(
                options.check_address(address), insecure, secret, Path(tls_ca) if tls_ca else None, terms
            )
        else:
            attached = attach.unix(Path(socket) if socket else running_exporter(name), terms)
    status = errors.OK
    try:
        with attached as attachment:
            status = _run(attachment, list(command))
            if status == errors.OK and attachment.session is not None and attachment.session.error is not None:
                status = exit_of(code_of(attachment.session.error))  # what the command did late, it did in vain
    except Exception as e:
        if status == errors.OK:
            raise
        errors.report("jmp", e)  # the devices were not let go as they should, but the command's own failure counts more
    return status


def _run(attachment: Attachment, command: list[str]) -> int:
    environment = attachment.environment(dict(os.environ))
    if command:
        return run_child(command, environment)
    if attachment.session is not None:
        _greet(attachment.session.endpoint)
    argv, variables = prompt.shell_command(os.environ.get("SHELL") or "/bin/sh", attachment.name)
    return run_child(argv, environment | variables, is_shell=True)


def _greet(endpoint: Endpoint) -> None:
    """Show what the exporter has for people who come: the configuration's text, and its hook's."""
    from ..client.probe import look

    if message := look(endpoint).report.motd.strip():
        click.echo(printable(message), err=True)
