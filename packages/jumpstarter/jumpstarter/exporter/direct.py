"""An exporter without a controller: it serves its devices itself, on a unix socket or a TCP port."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from anyio import CancelScope, Event, create_task_group, sleep_forever, to_thread

from ..common.address import host_port
from ..common.changes import first_of
from ..common.exceptions import BusyError, ConfigurationError, HookFailedError
from ..common.groups import ungrouped, ungrouping
from ..common.metadata import NAME_LABEL
from ..common.runtime import claim
from ..driver.rounds import Halt, Halted
from .gate import Gate, OwnersGate
from .leasehooks import LeaseHooks
from .life import SessionLife
from .making import Made, make_drivers
from .ownership import Ownership
from .ports import announced, server_of
from .record import Recorder
from .redaction import secrets_of
from .session import Session
from .signals import watch_signals
from .upkeep import Tolerance

if TYPE_CHECKING:
    import grpc

    from ..config.exporter import ExporterConfigV1Alpha1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class UnixListener:
    """A unix socket that only this user can use."""

    name: str | None = None
    """Name in the user's runtime directory, which only one exporter can have; a private socket if None."""


@dataclass(frozen=True, kw_only=True)
class TcpListener:
    """A TCP port."""

    port: int
    """0 for any."""

    host: str = "127.0.0.1"

    tls: tuple[bytes, bytes] | None = field(default=None, repr=False)
    """Certificate chain and private key, in PEM; clear text if None."""

    passphrase: str | None = field(default=None, repr=False)
    """What every call has to carry."""

    credentials: grpc.ServerCredentials | None = field(default=None, repr=False)
    """In place of `tls`."""

    interceptors: tuple[Any, ...] = ()
    """What looks at every call, beside what checks the passphrase."""


Listener = UnixListener | TcpListener


@ungrouping
async def serve_config(
    config: ExporterConfigV1Alpha1, listener: Listener, *, ready: Callable[[str], None], observers: bool = False
) -> None:
    """Serve the devices of a configuration until SIGINT, SIGTERM, SIGHUP or SIGQUIT; a second one ends at once.

    One client holds them at a time; with `observers`, the others may call methods that are marked as read-only. `ready`
    is called with the address as soon as the devices can be used. Raises ConfigurationError when the drivers cannot be
    made or the listener is wrong, BusyError when the address belongs to somebody else, HookFailedError when a hook that
    fails is to end the exporter.
    """
    failure: HookFailedError | None = None
    async with create_task_group() as tasks:
        halt, stop = Halt(), Event()

        def stop_now() -> None:
            halt.set()
            stop.set()

        await tasks.start(watch_signals, stop_now)
        failure = await serve_until(stop, halt, config, listener, ready=ready, observers=observers)
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@ungrouping
async def serve_until(
    stop: Event,
    halt: Halt,
    config: ExporterConfigV1Alpha1,
    listener: Listener,
    *,
    ready: Callable[[str], None] = lambda address: None,
    observers: bool = False,
    opening: Callable[..., AbstractAsyncContextManager[Session]] | None = None,
) -> HookFailedError | None:
    """The same until an event, before which the `halt` comes; returns why it ended by itself, if it did.

    `opening` makes the drivers a session, by default `open_session`.
    """
    failure: HookFailedError | None = None
    try:
        async with (
            _serving(config, listener, observers=observers, halt=halt, opening=opening) as (address, life),
            create_task_group() as tasks,
        ):

            async def announce() -> None:
                await life.offered()
                ready(address)

            tasks.start_soon(announce)
            await first_of(stop.wait, life.over)
            logger.info("stopping")
            failure = life.failure
            tasks.cancel_scope.cancel()
    except Halted as e:
        logger.info("%s", e)
    return failure


@asynccontextmanager
async def serving(config: ExporterConfigV1Alpha1, listener: Listener, *, once: bool = False) -> AsyncGenerator[str]:
    """Serve the devices of a configuration for as long as the context lasts, with `once` to one session only.

    Yields the address. Cancelled while it starts, it closes the drivers that are there, and raises Halted.
    """
    halt = Halt()

    async def halt_when_cancelled() -> None:
        try:
            await sleep_forever()
        finally:
            halt.set()

    with ungrouped():
        async with create_task_group() as tasks:
            tasks.start_soon(halt_when_cancelled)
            async with _serving(config, listener, once=once, halt=halt) as (address, life):
                await life.tried()
                yield address
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def _serving(
    config: ExporterConfigV1Alpha1,
    listener: Listener,
    *,
    observers: bool = False,
    once: bool = False,
    halt: Halt | None = None,
    opening: Callable[..., AbstractAsyncContextManager[Session]] | None = None,
) -> AsyncGenerator[tuple[str, SessionLife]]:
    """The same with the sessions' life, which is not waited for; raises Halted after a halt while it starts."""
    ownership = Ownership(observers=observers or config.observers)
    async with AsyncExitStack() as stack:
        path = None
        if isinstance(listener, TcpListener):
            listener = replace(listener, host=await to_thread.run_sync(resolve, listener.host))
            check_port(listener.host, listener.port, str(config.path or ""))  # before a driver touches anything
        elif listener.name is not None:
            path = stack.enter_context(claim(listener.name, str(config.path)))
        passphrase = listener.passphrase if isinstance(listener, TcpListener) else None
        session = await stack.enter_async_context((opening or open_session)(config, passphrase, halt=halt))
        gate = OwnersGate(session, ownership, is_private=listener == UnixListener())
        if isinstance(listener, TcpListener):
            address = await stack.enter_async_context(_serve_tcp(session, listener, gate))
        else:
            address = str(await stack.enter_async_context(session.serve_unix_async(path, gate=gate)))
        life = SessionLife(session, ownership, LeaseHooks(session, config.hooks, config.metadata.name), once=once)
        await stack.enter_async_context(life.running())
        yield address, life


@asynccontextmanager
async def open_session(
    config: ExporterConfigV1Alpha1,
    *secrets_beside: str | None,
    halt: Halt | None = None,
    make: Callable[[ExporterConfigV1Alpha1, Halt | None], Made] = make_drivers,
    labels: Mapping[str, str] | None = None,
    uuid: UUID | None = None,
) -> AsyncGenerator[Session]:
    """The drivers of a configuration as a session, after what a killed exporter left is made good.

    Raises Halted after a `halt` before they are made and reset; those that are there are closed then.
    """
    made = await to_thread.run_sync(make, config, halt)
    secrets = [*secrets_of(made.root), *(secret for secret in (config.token, *secrets_beside) if secret)]
    record = Recorder.of(config.metadata.name, secrets)
    try:
        async with Session(
            root_device=made.root,
            uuid=uuid,
            labels={NAME_LABEL: config.metadata.name, **(labels or {})},
            motd=config.motd or "",
            record=record,
            tolerance=Tolerance(made.required),
            config=str(config.path or ""),
            halt=halt,
        ) as session:
            await session.make_good()
            yield session
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(record.close)


def read_tls(cert: Path, key: Path) -> tuple[bytes, bytes]:
    """Certificate chain and private key from PEM files.

    Raises ConfigurationError when a file cannot be read, is not PEM, or the two do not belong together.
    """
    import ssl

    pair = _read(cert, "certificate"), _read(key, "private key")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as e:
        reason = e.reason or str(e)
        if reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(f"private key {key} does not belong to certificate {cert}") from e
        raise ConfigurationError(f"{cert} and {key} are not a certificate and its key in PEM: {reason}") from e
    return pair


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ConfigurationError(f"{what} {path}: {(e.strerror or str(e)).lower()}; check the path") from e


def _no_password() -> str:
    raise ConfigurationError("the private key is encrypted; give one without a password")


@asynccontextmanager
async def _serve_tcp(session: Session, listener: TcpListener, gate: Gate) -> AsyncGenerator[str]:
    credentials = listener.credentials
    if listener.tls is not None:
        from grpc import ssl_server_credentials

        chain, key = listener.tls
        credentials = ssl_server_credentials([(key, chain)])
    interceptors = [*listener.interceptors]
    if listener.passphrase is not None:
        from .auth import PassphraseInterceptor

        interceptors.append(PassphraseInterceptor(listener.passphrase))
    async with AsyncExitStack() as stack:
        server = session.serve_tcp_async(
            listener.host, listener.port, tls_credentials=credentials, interceptors=interceptors, gate=gate
        )
        try:
            port = await stack.enter_async_context(server)
        except OSError:
            check_port(listener.host, listener.port, session.config)  # says why, in our words
            raise
        stack.enter_context(announced(listener.host, port, session.config))
        yield host_port(listener.host, port)


def resolve(host: str) -> str:
    """The one address of this host to listen on; a name may have several, and serving on a part would pass unnoticed.

    Raises ConfigurationError when there is none.
    """
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][4][0])
    except OSError as e:
        raise ConfigurationError(f"cannot listen on {host}: {e.strerror}; give an address of this host") from e


def check_port(host: str, port: int, config: str = "") -> None:
    """Raise BusyError, PermissionError or ConfigurationError when the address cannot be listened on.

    Another exporter that serves there is named, and told that the one of this configuration wanted to.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC: connections that linger do not count
        try:
            probe.bind((host, port))
        except OSError as e:
            match e.errno:
                case errno.EADDRINUSE:
                    reason = f"port {port} on {host} is in use{server_of(host, port, config)}"
                    raise BusyError(reason, "stop that one, or take another port") from e
                case errno.EACCES:
                    reason = f"port {port} on {host}: permission denied; ports below 1024 need privileges"
                    raise PermissionError(reason) from e
                case _:
                    reason = f"cannot listen on port {port} of {host}: {e.strerror}; give an address of this host"
                    raise ConfigurationError(reason) from e
