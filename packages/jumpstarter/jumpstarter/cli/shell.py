"""`jmp shell`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common.runtime import exporter_sockets
from . import attach, errors, leases, logs, options
from .attach import Attachment, Terms, Wish
from .clients import client_options, find_client, need_client
from .durations import DURATION
from .group import examples
from .launch import run_attached
from .options import Where
from .running import socket_of

if TYPE_CHECKING:
    from ..config.client import ClientConfigV1Alpha1


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog=examples(
        "jmp shell                                            the one exporter running here",
        "jmp shell --exporter-config lab.yaml -- j power on   the devices of a file, one command",
        "jmp shell --tls-grpc lab1:8083 --passphrase-file secret -- pytest",
        "jmp shell -l board=rpi4 --duration 2h -- pytest      any free board of that kind, of a controller",
    ),
)
@options.config_options
@options.exporter_options
@client_options
@leases.selector_option
@click.option("--lease", "lease", metavar="NAME", help="Use a lease that there is; it is not ended.")
@click.option("--duration", type=DURATION, metavar="TIME", help="How long to lease: 90 (s), 2h (default: 30m), PT30M.")
@click.option(
    "--acquisition-timeout", type=click.FloatRange(min=5), metavar="SECONDS", help="Wait so long for a free exporter."
)
@click.option(
    "--retry-timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait so long for an absent controller."
)
@click.option(
    "--dial-timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="Wait so long for a leased exporter."
)
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
    where: Where,
    exporter_config: str | None,
    exporter: str | None,
    client: str | None,
    client_config: str | None,
    selectors: tuple[str, ...],
    lease: str | None,
    duration: timedelta | None,
    acquisition_timeout: float | None,
    retry_timeout: float | None,
    dial_timeout: float | None,
    wait: float | None,
    exporter_logs: bool,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND, or a shell, with the devices of an exporter attached.

    Inside, `j` uses the devices, and nobody else can. The status of COMMAND is the status of `jmp shell`. The
    passphrase can also stand in JMP_GRPC_PASSPHRASE. With a client's configuration, the exporter is one that its
    controller leases: by labels (-l), by name (-n), or by a lease that there is.
    """
    wish = Wish(
        lease=lease,
        selector=leases.joined(selectors),
        exporter=where.name,
        duration=duration or Wish.duration,
        acquisition_timeout=acquisition_timeout,
        retry_timeout=retry_timeout,
        dial_timeout=dial_timeout,
    )
    is_leasing = wish != replace(Wish(), exporter=where.name) or client is not None or client_config is not None
    configs = {"--exporter-config": exporter_config, "--exporter": exporter}
    where.check(configs)
    config = options.load_config(exporter_config, exporter)
    _check(where, configs, wait, is_leasing)
    terms = Terms(
        purpose=Path(command[0]).name if command else "a shell",  # the arguments may have secrets
        wait=None if wait == inf else wait or 0,
        logs=exporter_logs,
    )
    is_direct = any((*configs.values(), where.socket, where.address))
    leasing = _leasing(client_config, client, wish, is_leasing) if not is_direct else None
    serves = leasing is None and config is not None
    logs.to_stderr(log_level or ("INFO" if serves and exporter_logs else "WARNING"), exporters=exporter_logs)
    if leasing is not None:
        attached = attach.leased(*leasing, terms)
    elif config is not None:
        attached = attach.local(config, terms)
    else:
        attached = _running(where, terms)
    return _run(attached, command)


def _check(where: Where, configs: dict[str, str | None], wait: float | None, is_leasing: bool) -> None:
    """Raise UsageError where options are for different kinds of exporters."""
    others = {option: value for option, value in (configs | where.given).items() if option != "--name"}
    if is_leasing and (given := next((option for option, value in others.items() if value is not None), None)):
        raise click.UsageError(f"{given} is for an exporter without a controller; it and leases exclude each other")
    if is_leasing and wait is not None:
        raise click.UsageError("--wait is for an exporter without a controller; use --acquisition-timeout SECONDS")
    if any(configs.values()) and wait is not None:
        raise click.UsageError("--wait is for an exporter that runs already; nobody else has the one of a file")


def _running(where: Where, terms: Terms) -> AbstractContextManager[Attachment]:
    """The devices of an exporter that runs already."""
    if where.address is None:
        return attach.unix(socket_of(where), terms)
    secret, ca = where.secret(), Path(where.tls_ca) if where.tls_ca else None
    return attach.tcp(options.check_address(where.address), where.insecure, secret, ca, terms)


def _run(attached: AbstractContextManager[Attachment], command: tuple[str, ...]) -> int:
    """The status of a command, or a shell, with devices attached."""
    status = errors.OK
    try:
        with attached as attachment:
            status = run_attached(attachment, command)
    except Exception as e:
        if status == errors.OK:
            raise
        errors.report("jmp", e)  # the devices were not let go as they should, but the command's own failure counts more
    return status


def _leasing(
    file: str | None, alias: str | None, wish: Wish, is_wanted: bool
) -> tuple[ClientConfigV1Alpha1, Wish] | None:
    """The client, and what it shall lease; None where an exporter of this host is meant.

    Without a wish, that is the exporter that runs here. Where none does, it is the only lease of the client.
    """
    from ..config.client import lease_from_env

    wish = replace(wish, lease=wish.lease or lease_from_env())
    if not is_wanted and wish.lease is None:
        here = [path.stem for path in exporter_sockets()]
        if wish.exporter in here or (wish.exporter is None and here):
            return None
        config = find_client(None, None)
        if config is None:
            return None
    else:
        config = need_client(file, alias)
    if not (wish.lease or wish.selector or wish.exporter):
        wish = replace(wish, lease=_only_lease(config))
    return config, wish


def _only_lease(config: ClientConfigV1Alpha1) -> str:
    """The name of the one lease that a client has."""
    mine = [lease.name for lease in config.list_leases().leases if lease.client == config.metadata.name]
    if len(mine) == 1:
        return mine[0]
    found = f"it has {len(mine)} leases: {', '.join(mine)}" if mine else "it has no lease"
    raise click.UsageError(
        f"say what client {config.metadata.name} shall lease, by -l SELECTOR, -n EXPORTER or --lease NAME; {found}"
    )
