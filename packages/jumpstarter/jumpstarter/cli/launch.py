"""A command, or an interactive shell, that has the devices of an exporter attached."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from ..common import env as names
from ..common.failures import code_of, exit_of
from ..common.text import printable
from . import errors, prompt
from .attach import Attachment
from .child import run_child
from .leasing import Ending, ending_soon, variables_of

if TYPE_CHECKING:
    from subprocess import Popen

    from ..client.connection import Endpoint
    from ..client.directlease import DirectLease
    from ..client.lease import Lease


def run_attached(attachment: Attachment, command: Sequence[str]) -> int:
    """Run a command, or without one a shell, that uses the devices; its status, or that of having lost them.

    Whose devices were lost before it ended did in vain what it did then, even where it says that it worked.
    """
    status = _run(attachment, command)
    if status in (errors.OK, 128 + signal.SIGHUP) and (lost := attachment.lost()) is not None:
        return exit_of(code_of(lost))
    return status


def _run(attachment: Attachment, command: Sequence[str]) -> int:
    environment = attachment.environment(dict(os.environ))
    if command:
        return run_child(command, environment)
    if attachment.endpoint is not None:
        _greet(attachment.endpoint)
    shell = os.environ.get("SHELL") or "/bin/sh"
    argv, variables = prompt.shell_command(shell, attachment.name, profiles=attachment.use_profiles)
    return run_child(argv, environment | variables, is_shell=True)


def _greet(endpoint: Endpoint) -> None:
    """Show what the exporter has for people who come: the configuration's text, and its hook's."""
    from ..client.probe import look

    if message := look(endpoint).report.motd.strip():
        click.echo(printable(message), err=True)


def launch_shell(
    host: str,
    context: str,
    allow: Sequence[str],
    unsafe: bool,
    use_profiles: bool,
    *,
    command: Sequence[str] | None = None,
    lease: Lease | DirectLease | None = None,
    insecure: bool = False,
    passphrase: str | None = None,
    motd: str | None = None,
) -> int:
    """Run a command, or without one a shell whose prompt says `context`, that reaches an exporter at `host`.

    `host` is a unix socket or host:port, of a session that is ready. With a lease that is being monitored, the command
    ends with it. Returns its status, or 128 and the signal that killed it. For the main thread: it handles signals.
    """
    variables = {
        names.JUMPSTARTER_HOST: host,
        names.JMP_DRIVERS_ALLOW: "UNSAFE" if unsafe else ",".join(allow),
        names.JMP_EXPORTER: context,
        **(variables_of(lease) if lease is not None else {}),
    }
    if insecure:
        variables[names.JMP_GRPC_INSECURE] = "1"
    if passphrase is not None:
        variables[names.JMP_GRPC_PASSPHRASE] = passphrase
    from ..client.lease import Lease

    attachment = Attachment(name=context, variables=variables, use_profiles=use_profiles)
    if motd and not command:
        click.echo(printable(motd.strip()), err=True)
    if not isinstance(lease, Lease):  # it does not end
        return run_attached(attachment, command or ())
    before = lease.lease_ending_callback
    ending = Ending(lease)
    try:
        return run_attached(replace(attachment, lost=ending.lost), command or ())
    finally:
        lease.lease_ending_callback = before


def lease_ending_handler(process: Popen[bytes] | Popen[str], lease: Lease, remaining_time: timedelta) -> None:
    """What a lease calls before its end and at that: the first is told, the second hangs up on a process."""
    if remaining_time > timedelta():
        errors.warn("jmp", ending_soon(lease, remaining_time))
        return
    process.send_signal(signal.SIGHUP)
