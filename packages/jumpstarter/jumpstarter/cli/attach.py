"""The ways in which `jmp shell` attaches devices: what the child's environment has to say."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common import env as names
from ..common.environment import path_with_commands
from ..common.exceptions import ConfigurationError
from ..common.text import one_line
from . import errors

if TYPE_CHECKING:
    import ssl

    from ..client.connection import Endpoint
    from ..client.holding import HeldSession
    from ..config.exporter import ExporterConfigV1Alpha1

_OURS = (
    names.JUMPSTARTER_HOST,
    names.JMP_GRPC_INSECURE,
    names.JUMPSTARTER_GRPC_INSECURE,
    names.JMP_GRPC_PASSPHRASE,
    names.JMP_EXPORTER,
    names.JMP_EXPORTER_LABELS,
    names.JMP_LEASE,
    names.JMP_SESSION,
)
"""Variables of an outer shell, which say nothing of this one."""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """Devices that are within reach."""

    name: str
    """What a prompt calls the exporter."""

    variables: dict[str, str] = field(repr=False)
    """How a client finds it."""

    session: HeldSession | None = field(default=None, repr=False)
    """What we hold meanwhile; None in a shell within a shell, and where the exporter has no sessions."""

    def environment(self, base: dict[str, str]) -> dict[str, str]:
        """The environment of a process that uses the devices."""
        kept = {key: value for key, value in base.items() if key not in _OURS}
        return {
            **kept,
            **self.variables,
            "PATH": path_with_commands(base),
            names.JMP_SUPPRESS_DRIVER_WARNINGS: "1",
        }


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a session is asked for."""

    purpose: str = ""
    wait: float | None = 0
    """Seconds to wait for it when somebody else has it, None for ever."""

    logs: bool = False
    """Show the exporter's log on stderr."""


@contextmanager
def local(config: ExporterConfigV1Alpha1, terms: Terms) -> Generator[Attachment]:
    """Serve a configuration in this process, on a private unix socket."""
    from ..client.connection import Endpoint
    from ..exporter.direct import UnixListener, serving
    from ..streams.portal import shared_portal

    name = config.metadata.name
    with (
        shared_portal().wrap_async_context_manager(serving(config, UnixListener(), once=True)) as address,
        _held(Endpoint(address), terms) as (session, variables),
    ):
        variables |= {names.JMP_DRIVERS_ALLOW: "UNSAFE", names.JMP_EXPORTER: name}
        yield Attachment(name=name, variables=variables, session=session)


@contextmanager
def unix(path: Path, terms: Terms) -> Generator[Attachment]:
    """An exporter that runs on this host."""
    from ..client.connection import Endpoint

    with _attached(Endpoint(str(path.absolute())), terms) as (session, variables):
        yield Attachment(name=path.stem, variables=variables | {names.JMP_EXPORTER: path.stem}, session=session)


@contextmanager
def tcp(address: str, insecure: bool, passphrase: str | None, ca: Path | None, terms: Terms) -> Generator[Attachment]:
    """An exporter that serves a TCP port."""
    from ..client.connection import Endpoint

    endpoint = Endpoint(address, insecure=insecure, passphrase=passphrase, ca=read_ca(ca) if ca is not None else None)
    with _attached(endpoint, terms) as (session, variables):
        variables |= {names.JMP_EXPORTER: "direct", names.JMP_LEASE: "direct"}
        if insecure:
            variables[names.JMP_GRPC_INSECURE] = "1"
        if passphrase is not None:
            variables[names.JMP_GRPC_PASSPHRASE] = passphrase
        if ca is not None:
            variables[names.GRPC_ROOTS] = str(ca.absolute())
        yield Attachment(name=address, variables=variables, session=session)


@contextmanager
def _attached(endpoint: Endpoint, terms: Terms) -> Generator[tuple[HeldSession | None, dict[str, str]]]:
    """Hold the session of an exporter that answers there; show its log meanwhile if asked to."""
    from ..client.connection import in_session
    from ..client.probe import check_answers, following_logs

    check_answers(endpoint)
    endpoint = in_session(endpoint)
    with following_logs(endpoint) if terms.logs else nullcontext():
        if endpoint.session is not None:  # a shell within a shell
            yield None, _variables(endpoint)
        else:
            with _held(endpoint, terms) as held:
                yield held


@contextmanager
def _held(endpoint: Endpoint, terms: Terms) -> Generator[tuple[HeldSession, dict[str, str]]]:
    from ..client.holding import holding

    def waiting(status: str) -> None:
        click.echo(f"jmp: waiting for the exporter: {one_line(status)}", err=True)

    def lost(reason: str) -> None:
        errors.warn("jmp", reason)

    with holding(endpoint, purpose=terms.purpose, wait=terms.wait, say=waiting, lost=lost) as session:
        yield session, _variables(session.endpoint)
    for failure in session.failures:
        errors.warn("jmp", failure)


def _variables(endpoint: Endpoint) -> dict[str, str]:
    session = {names.JMP_SESSION: endpoint.session} if endpoint.session is not None else {}
    return {names.JUMPSTARTER_HOST: endpoint.address, **session}


def read_ca(path: Path) -> str:
    """The certificates in a file; ConfigurationError where there are none."""
    import ssl

    try:
        text = path.read_text(encoding="ascii", errors="replace")
        ssl.create_default_context(cadata=text)
    except ssl.SSLError as e:
        raise ConfigurationError(f"{path} holds no certificates in PEM: {_plain(e)}") from e
    except (OSError, ValueError) as e:
        raise ConfigurationError(f"certificates {path}: {getattr(e, 'strerror', None) or e}") from e
    return text


def _plain(error: ssl.SSLError) -> str:
    """What OpenSSL says, without the line of its source."""
    return (error.reason or str(error)).partition(" (_ssl.c")[0].replace("_", " ").lower()
