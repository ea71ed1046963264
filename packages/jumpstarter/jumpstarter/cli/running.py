"""Which of the exporters on this host a command means."""

from __future__ import annotations

from pathlib import Path

import click

from ..common.runtime import exporter_sockets
from . import errors
from .options import Where


def running_exporter(name: str | None = None, choice: str = "choose one with --name NAME") -> Path:
    """Socket of the exporter of that name, or of the only one that this user runs here; `choice` is for several."""
    found = {path.stem: path for path in exporter_sockets()}
    names = ", ".join(found) or "none"
    if name is not None:
        if name not in found:
            message = f"no exporter {name} runs here (running: {names}); start it with jmp run --exporter-config FILE"
            raise errors.CommandError(message, errors.UNREACHABLE)
        return found[name]
    if not found:
        message = (
            "no exporter runs here; start one (jmp run --exporter-config FILE), use the devices of a file "
            "(jmp shell --exporter-config FILE) or those of another host (jmp shell --tls-grpc HOST:PORT)"
        )
        raise errors.CommandError(message, errors.UNREACHABLE)
    if len(found) > 1:
        raise click.UsageError(f"several exporters run here: {names}; {choice}")
    return next(iter(found.values()))


def socket_of(where: Where) -> Path:
    """Socket of the exporter on this host that the options mean."""
    return Path(where.socket) if where.socket else running_exporter(where.name)
