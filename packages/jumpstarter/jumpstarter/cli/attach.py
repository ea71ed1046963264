"""The ways in which `jmp shell` attaches devices: what the child's environment has to say."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common import env as names
from ..common.environment import path_with_commands
from ..common.text import one_line
from . import errors, options

if TYPE_CHECKING:
    from ..client.connection import Endpoint
    from ..client.holding import HeldSession
    from ..config.client import ClientConfigV1Alpha1
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

    endpoint: Endpoint | None = field(default=None, repr=False)
    """Where an exporter is that greets who comes; None in a shell within a shell."""

    lost: Callable[[], BaseException | None] = field(default=lambda: None, repr=False)
    """Why the devices were lost before the command ended, if they were; may ask for that."""

    use_profiles: bool = False
    """Whether shells read the user's profile."""

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
    """Serve a configuration in this process, on a private unix socket; what drivers start ends with it."""
    from ..client.connection import Endpoint
    from ..common.guardian import SHORT_GRACE, Family
    from ..common.limits import SHUTDOWN
    from ..exporter.direct import UnixListener, serving
    from ..streams.portal import entered, shared_portal

    name = config.metadata.name
    try:
        with (
            entered(shared_portal(), serving(config, UnixListener(), once=True), SHUTDOWN) as address,
            _held(Endpoint(address), terms) as (session, variables),
        ):
            variables |= {names.JMP_DRIVERS_ALLOW: "UNSAFE", names.JMP_EXPORTER: name}
            yield _attachment(name, variables, session)
    finally:
        Family().end(SHORT_GRACE)  # what drivers have left behind


@contextmanager
def unix(path: Path, terms: Terms) -> Generator[Attachment]:
    """An exporter that runs on this host."""
    from ..client.connection import Endpoint

    with _attached(Endpoint(str(path.absolute())), terms) as (session, variables):
        yield _attachment(path.stem, variables | {names.JMP_EXPORTER: path.stem}, session)


@contextmanager
def tcp(address: str, insecure: bool, passphrase: str | None, ca: Path | None, terms: Terms) -> Generator[Attachment]:
    """An exporter that serves a TCP port."""
    from ..client.connection import Endpoint

    endpoint = Endpoint(
        address, insecure=insecure, passphrase=passphrase, ca=options.read_ca(ca) if ca is not None else None
    )
    with _attached(endpoint, terms) as (session, variables):
        variables |= {names.JMP_EXPORTER: "direct", names.JMP_LEASE: "direct"}
        if insecure:
            variables[names.JMP_GRPC_INSECURE] = "1"
        if passphrase is not None:
            variables[names.JMP_GRPC_PASSPHRASE] = passphrase
        if ca is not None:
            variables[names.GRPC_ROOTS] = str(ca.absolute())
        yield _attachment(address, variables, session)


def _attachment(name: str, variables: dict[str, str], session: HeldSession | None) -> Attachment:
    if session is None:
        return Attachment(name=name, variables=variables)
    return Attachment(name=name, variables=variables, endpoint=session.endpoint, lost=lambda: session.error)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Which exporter of a controller is wanted; times in seconds, None for those of the configuration."""

    lease: str | None = None
    """One that there is."""
    selector: str = ""
    exporter: str | None = None
    duration: timedelta = timedelta(minutes=30)
    acquisition_timeout: float | None = None
    retry_timeout: float | None = None
    dial_timeout: float | None = None


@contextmanager
def leased(config: ClientConfigV1Alpha1, wish: Wish, terms: Terms) -> Generator[Attachment]:
    """An exporter that a controller leases to us."""
    from ..client.connection import Endpoint
    from ..client.leased import end_session, wait_ready
    from ..client.probe import following_logs
    from ..common.limits import RELEASE_LEASE
    from ..streams.portal import entered, shared_portal
    from .leasing import Ending, variables_of

    portal = shared_portal()
    leasing = config.lease_async(
        wish.selector or None,
        wish.exporter,
        wish.lease,
        wish.duration,
        portal,
        wish.acquisition_timeout,
        wish.retry_timeout,
        wish.dial_timeout,
    )
    with entered(portal, leasing, RELEASE_LEASE) as lease, lease.serve_unix() as path:
        endpoint = Endpoint(str(path))
        with following_logs(endpoint) if terms.logs else nullcontext():
            if warning := wait_ready(endpoint, lease.dial_timeout, _say):
                errors.warn("jmp", warning)
            ending = Ending(lease)
            with lease.monitor():
                yield Attachment(
                    name=lease.exporter_name,
                    variables={
                        names.JUMPSTARTER_HOST: endpoint.address,
                        names.JMP_DRIVERS_ALLOW: "UNSAFE" if config.drivers.unsafe else ",".join(config.drivers.allow),
                        **variables_of(lease),
                    },
                    endpoint=endpoint,
                    lost=ending.lost,
                    use_profiles=config.shell.use_profiles,
                )
            if lease.release and ending.error() is None and (failure := end_session(endpoint)):
                errors.warn("jmp", failure)


def _say(message: str) -> None:
    click.echo(f"jmp: {message}", err=True)


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
        _say(f"waiting for the exporter: {one_line(status)}")

    def lost(reason: str) -> None:
        errors.warn("jmp", reason)

    with holding(endpoint, purpose=terms.purpose, wait=terms.wait, say=waiting, lost=lost) as session:
        yield session, _variables(session.endpoint)
    for failure in session.failures:
        errors.warn("jmp", failure)


def _variables(endpoint: Endpoint) -> dict[str, str]:
    session = {names.JMP_SESSION: endpoint.session} if endpoint.session is not None else {}
    return {names.JUMPSTARTER_HOST: endpoint.address, **session}
