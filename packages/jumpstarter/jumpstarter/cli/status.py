"""`jmp status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..common.holders import describe
from ..common.metadata import NAME_LABEL
from ..common.text import one_line
from . import errors, options
from .group import examples
from .options import Where
from .running import socket_of

if TYPE_CHECKING:
    from ..client.connection import Endpoint
    from ..client.probe import Look

_WORDS = {0: "unknown", 1: "ready", 2: "absent", 3: "faulty"}


@click.command(
    epilog=examples(
        "jmp status                                the one exporter running here",
        "jmp status --name lab -o json             for programs",
        "jmp status --tls-grpc lab1:8083 --passphrase-file secret",
    )
)
@options.exporter_options
@errors.output_option
def status(where: Where, output: str | None) -> None:
    """Show what an exporter does, who holds it, and which of its devices can be used."""
    where.check()
    endpoint = _endpoint(where)
    from ..client.probe import look

    found = _facts(look(endpoint), endpoint)
    if output == "json":
        import json

        click.echo(json.dumps(found, indent=2))
    else:
        _show(found)


def _endpoint(where: Where) -> Endpoint:
    from ..client.connection import Endpoint

    if where.address is None:
        return Endpoint(str(socket_of(where).absolute()))
    secret, ca = where.secret(), options.read_ca(Path(where.tls_ca)) if where.tls_ca else None
    return Endpoint(options.check_address(where.address), insecure=where.insecure, passphrase=secret, ca=ca)


def _facts(look: Look, endpoint: Endpoint) -> dict[str, Any]:
    """What the exporter says, as plain data."""
    from ..common.enums import ExporterStatus

    now, report = look.status, look.report
    return {
        "exporter": report.labels.get(NAME_LABEL, ""),
        "address": endpoint.address,
        "status": ExporterStatus.from_proto(now.status).name if now is not None else "UNKNOWN",
        "message": now.message if now is not None else "",
        "holder": _holder(now.holder) if now is not None and now.HasField("holder") else None,
        "drivers": [_driver(path, entry) for path, entry in look.drivers()],
    }


def _holder(holder: Any) -> dict[str, Any]:
    since = holder.since.ToDatetime().isoformat() + "Z" if holder.HasField("since") else None
    return {
        "user": holder.user,
        "host": holder.host,
        "pid": holder.pid or None,
        "since": since,
        "purpose": holder.purpose,
    }


def _driver(path: str, entry: Any) -> dict[str, Any]:
    return {
        "driver": path,
        "state": _WORDS.get(entry.state.condition, "unknown"),
        "reason": entry.state.reason,
        "hint": entry.state.hint,
        "device": entry.identity,
        "class": entry.driver_type,
        "description": entry.description,
    }


def _show(found: dict[str, Any]) -> None:
    message = f": {found['message']}" if found["message"] else ""
    name = found["exporter"] or "exporter"
    click.echo(one_line(f"{name} at {found['address']} is {found['status']}{message}"))
    if (holder := found["holder"]) is not None:
        click.echo(one_line(f"held by {_named(holder)}"))
    drivers = [driver for driver in found["drivers"] if driver["driver"]]
    width = max((len(driver["driver"]) for driver in drivers), default=0)
    for driver in drivers:
        why = "; ".join(filter(None, [driver["reason"], driver["hint"]]))
        click.echo(one_line(f"{driver['driver']:<{width}}  {driver['state']:<7} {why}".rstrip()))


def _named(holder: dict[str, Any]) -> str:
    """Who holds it, in one phrase."""
    from datetime import datetime

    since = datetime.fromisoformat(holder["since"]).timestamp() if holder["since"] else 0.0
    return describe(holder["user"], holder["host"], holder["pid"] or 0, since, holder["purpose"])
